"""The conditioner of texts that name several things: a vector for each, in the order of mention."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_encoder import Waves
from torch import Tensor

from sfumato.condition import CachedPhrases, Conditioner, EncodedText, Phrases
from sfumato.condition.phrases import indivisible
from sfumato.errors import InputError

OWN = Phrases(Waves(), 32, ("cat in a hat",), ("3D style",), things=3)
TEXT = EncodedText(Waves())
PROMPTS = ["a red cat in a house", None, "two dogs and a cat in a hat, 3D style", "", "a dog, a cat, a hat, a house"]
THINGS = [["red cat", "house"], [], ["dogs", "dogs", "cat in a hat"], [], ["dog", "cat", "hat"]]


def columns(prompts: Any, own: Any = OWN) -> Tensor:
    concat = own(prompts).concat
    assert concat is not None
    return concat


def test_it_is_a_conditioner_of_the_text_and_of_its_things() -> None:
    assert isinstance(OWN, Conditioner) and OWN.widths == {"vector": 6, "context": 6, "concat": 7}
    own, text = OWN(PROMPTS), TEXT(PROMPTS)
    for name, value in text.given().items():
        assert torch.equal(own.given()[name], value), "the text is encoded as EncodedText does"
    assert own.given().keys() == {*text.given(), "concat"}


def test_each_thing_has_the_vector_of_its_phrase() -> None:
    found = columns(PROMPTS)
    assert found.shape == (5, 7, 4)
    wanted = torch.zeros(5, 7, 4)
    for row, things in zip(wanted, THINGS, strict=True):
        for place, phrase in enumerate(things, 1):
            vector = TEXT([phrase]).vector
            assert vector is not None
            row[:-1, place], row[-1, place] = vector[0], 1
    assert torch.equal(found, wanted)
    assert torch.equal(OWN.vectors(THINGS), found)


def test_the_things_of_a_prompt_are_alike_alone_and_in_a_batch() -> None:
    for prompt, row in zip(PROMPTS, columns(PROMPTS), strict=True):
        assert torch.equal(columns([prompt])[0], row)


def test_nothing_is_encoded_where_nothing_is_named() -> None:
    class Mute(Waves):
        def __call__(self, ids: Any) -> Any:
            raise AssertionError("the encoder was asked")

    assert torch.equal(Phrases(Mute()).vectors([(), ()]), torch.zeros(2, 7, 6))


def test_training_asks_a_file_and_gets_the_same(tmp_path: Path) -> None:
    files: Any = SimpleNamespace(captions=tmp_path / "captions.safetensors", tokenizer=tmp_path / "tokenizer.json")
    size, seen = OWN.training_size(files, iter(PROMPTS)), []
    trained = OWN.for_training(files, iter(PROMPTS), lambda done, of: seen.append((done, of)))
    assert isinstance(trained, CachedPhrases) and trained.saved is OWN and trained.widths == OWN.widths
    assert trained.dropout == OWN.dropout and seen == [(11, 11)], "prompts, the empty one and distinct phrases"
    assert 0.5 * size < files.captions.stat().st_size < 2 * size + 2000 and OWN.training_size(files, PROMPTS) == 0
    for prompts in (PROMPTS, ["a hat that is new, in a house"], [None]):
        wanted = OWN(prompts).given()
        for name, value in trained(prompts).given().items():
            assert (value.float() - wanted[name].float()).abs().max() < 1e-3, "tokens are kept in half precision"
    assert torch.equal(columns(PROMPTS, trained), columns(PROMPTS))


def test_a_prompt_is_read_and_cut_as_texts_are() -> None:
    assert OWN.truncated("a cat") == "" and Phrases(Waves(), 4).truncated("a red house in a hat") == "house in a hat"
    assert OWN.parsed("🐱, 3D style").things == ("cat face",)
    with pytest.raises(InputError, match="in words, not 3"):
        OWN.check_prompt(3)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"length": 3}, "length must be from 4 to 40"),
        ({"things": 0}, "things must be a whole number from 1"),
        ({"names": ("Cat",)}, "names are in small letters, as phrases.indivisible gives them, not 'Cat'"),
        ({"names": ("",)}, "have 1 to 100 characters, unlike ''"),
        ({"styles": ("x" * 101,)}, "have 1 to 100 characters, unlike"),
        ({"names": ("a",) * 5001}, "at most 5,000, not 5,001"),
    ],
    ids=["length", "things", "capital", "empty", "long", "many"],
)
def test_what_cannot_be_read_by_is_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Phrases(**{"encoder": Waves(), **wrong})


def test_the_names_that_are_found_are_taken() -> None:
    names = indivisible(["Cat with tears of joy", "Santa Claus", "O button (blood type)"])
    assert Phrases(Waves(), names=names).parsed("a cat with tears of joy").things == (names[0],)


def test_a_quarter_of_what_sprites_are_found_by_is_the_last_word_of_a_phrase_but_for_names() -> None:
    placed, mask = OWN.placed(["a blue ham sandwich and a cat in a hat"])
    whole, last, name = TEXT(["ham sandwich", "sandwich", "cat in a hat"]).given()["vector"]
    assert mask.tolist() == [[True, True, True, False]] and placed[0, 1, -3] > 0, "and the colour is apart"
    assert torch.allclose(placed[0, 1, :-3], 0.75 * whole + 0.25 * last, atol=1e-6)
    assert torch.equal(placed[0, 2, :-3], name)


def test_a_white_background_is_read_as_none() -> None:
    own, none = (OWN([f"a cat{ground}, 3D style"]).given() for ground in (" on a white background", ""))
    assert own.keys() == none.keys() and all(torch.equal(own[name], none[name]) for name in own)
