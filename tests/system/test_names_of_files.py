"""What the files of samples are called."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sfumato.errors import InputError
from sfumato.media import Image
from sfumato.system import Samples
from sfumato.system.naming import NameTemplate, names


def samples(*prompts: Any) -> Samples:
    """A picture a prompt, with seeds 5, 6, …"""
    records = tuple({"prompt": prompt, "seed": seed} for seed, prompt in enumerate(prompts, 5))
    return Samples(torch.zeros(len(prompts), 1, 2, 2), Image(1), records)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{index:05}-{seed}", "00012-7"),
        ("{prompt}-{seed}", "a-cat-7"),
        ("{prompt:.3}/{seed:>4}", "a-c/   7"),
        ("run{{1}}_{seed:x}", "run{1}_7"),
        ("-{seed}-", "-7-"),
    ],
)
def test_a_template_is_filled_in(template: str, name: str) -> None:
    assert NameTemplate(template)(12, "a  cat!", 7) == name


def test_an_empty_prompt_leaves_no_hyphen() -> None:
    assert NameTemplate("{prompt}-{seed}")(0, None, 7) == "7" == NameTemplate("{seed}-{prompt}")(0, "", 7)
    assert NameTemplate("{prompt}-{seed}-")(0, "a", 7) == "a-7-", "what somebody asks for stays"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{seeds}", "a name has no field 'seeds'; did you mean 'seed'"),
        ("{}", "a name has no field ''"),
        ("{seed.real}", "a name has no field 'seed.real'"),
        ("{prompt[0]}", r"a name has no field 'prompt\[0\]'"),
        ("{seed!r}", r"as in \{index:05\}, not 'r'"),
        ("{seed:{index}}", r"as in \{index:05\}, not '\{index\}'"),
        ("{seed:09999999999}", r"as in \{index:05\}, not '09999999999'"),
        ("{prompt:05d}", "is no template"),
        ("{seed", "is no template"),
        ("{seed}}", "is no template"),
        ("", "names no file"),
        ("/tmp/{seed}", "names no file"),
        ("a/../{seed}", "names no file"),
        (".{seed}", "names no file"),
        ("a\\{seed}", "is no name for a file"),
        ("a\n{seed}", "is no name for a file"),
        ("{seed:300}", "is no name for a file"),
    ],
)
def test_what_is_no_template_is_refused(template: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NameTemplate(template)


def test_names_of_their_own_are_numbered_as_files_are_and_templates_must_differ() -> None:
    asked = [("a cat!", 0), ("a cat?", 0), ("A CAT", 0), ("a cat!", 0)]
    assert names(asked, [None] * 4) == ["a-cat-0", "a-cat-0_2", "A-CAT-0_3", "a-cat-0_4"], "some disks know no case"
    with pytest.raises(InputError, match=r"two samples would be 'a-cat', number 7 and number 8: put \{index\} in"):
        names(asked[:2], [NameTemplate("{prompt}")] * 2, start=7)


def test_samples_are_saved_under_names_that_are_given(tmp_path: Path) -> None:
    saved = samples("cat", "dog").save(tmp_path, name="{index:02}/{prompt}", start=9)
    assert [str(path.relative_to(tmp_path)) for path in saved] == ["09/cat.png", "10/dog.png"]
    assert [path.name for path in samples("cat", "dog").save(tmp_path, name=["x", "y"])] == ["x.png", "y.png"]
    with pytest.raises(InputError, match="a name for each of the 2 samples: 1 came"):
        samples("cat", "dog").save(tmp_path, name=["x"])
    with pytest.raises(InputError, match="two samples would be '1'"):
        samples("cat", "dog").save(tmp_path / "new", name="1")
    with pytest.raises(InputError, match="names no file"):
        samples("cat").save(tmp_path / "new", name=["../x"])
    assert not (tmp_path / "new").exists()
