"""Classes by name, in any spelling of it, and by number."""

import pytest

from sfumato.condition.labels import Labels, Nothing
from sfumato.errors import InputError


@pytest.mark.parametrize("asked", ["café", "cafe\u0301", "CAFÉ", " Cafe\u0301 ", "caf\u00e9"])
@pytest.mark.parametrize("name", ["café", "cafe\u0301"])
def test_a_class_is_found_in_any_spelling_of_its_name(name: str, asked: str) -> None:
    assert Labels(("tea", name, "milk, cream")).index(asked) == 1


def test_the_exact_spelling_goes_before_another() -> None:
    labels = Labels(("café", "cafe\u0301", "Café"))
    assert [labels.index(name) for name in labels.classes] == [0, 1, 2]


def test_bytes_that_are_no_utf8_ask_for_the_class_they_named() -> None:
    assert Labels(("tea", "caf\ufffd")).index("caf\udce9") == 1


@pytest.mark.parametrize("asked", ["x" * 5000, "9" * 5000, "half \ud83d"])
def test_an_unknown_class_is_quoted_in_brief(asked: str) -> None:
    with pytest.raises(InputError, match="^there is no class '.*' here; known: tea$") as caught:
        Labels(("tea",)).index(asked)
    assert len(str(caught.value)) < 160
    str(caught.value).encode()
    with pytest.raises(InputError, match="draws without a prompt") as caught:
        Nothing()([asked])
    assert len(str(caught.value)) < 200
