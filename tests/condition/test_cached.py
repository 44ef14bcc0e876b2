"""Captions encoded once: the same answers, from one file, for as long as it is the right one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from small_encoder import Waves

from sfumato import files
from sfumato.condition import CachedText, Conditioner, EncodedText, captions_size
from sfumato.core.condition import Condition
from sfumato.errors import FormatError, NonFiniteError

CAPTIONS = ["a cat", "a dog in a red hat", "a  cat ", None, "a 🐱", "a red house in a hat", "a cat"]
ASKED: list[int] = []


@dataclass(frozen=True)
class Counting(Waves):
    """Writes down how many texts it was asked for."""

    def __call__(self, ids: Sequence[Sequence[int]]) -> Condition:
        ASKED.append(len(ids))
        return super().__call__(ids)


def remembered(
    folder: Path, captions: Sequence[str | None] = CAPTIONS, text: EncodedText = EncodedText(Counting())
) -> CachedText:
    ASKED.clear()
    return CachedText(text, captions, folder / "captions.safetensors")


def alike(one: Condition, other: Condition, within: float) -> bool:
    assert one.mask is not None and other.mask is not None and torch.equal(one.mask, other.mask)
    pairs = ((one.vector, other.vector, 1e-6), (one.context, other.context, within))
    return all(a is not None and b is not None and (a - b).abs().max() <= most for a, b, most in pairs)


def test_it_answers_as_the_conditioner_does(tmp_path: Path) -> None:
    text, kept = EncodedText(Waves()), remembered(tmp_path)
    assert isinstance(kept, Conditioner) and kept.widths == text.widths and kept.dropout == text.dropout
    assert sum(ASKED) == 5, "the empty text and four that differ"
    ASKED.clear()
    for prompts in (CAPTIONS, ["a cat"], ["", None], ["a dog in a red hat", "a cat"]):
        condition = kept(prompts)
        assert alike(condition, text(prompts), 2**-11)
        assert condition.context is not None and condition.context.dtype == torch.float32
    assert not ASKED


def test_tokens_are_rounded_to_float16(tmp_path: Path) -> None:
    condition, exact = remembered(tmp_path)(CAPTIONS).context, EncodedText(Waves())(CAPTIONS).context
    assert condition is not None and exact is not None and torch.equal(condition, exact.half().float())


def test_other_prompts_are_encoded(tmp_path: Path) -> None:
    kept, prompts = remembered(tmp_path), ["a house", "a cat", "red dogs in a house in a hat", "a house"]
    ASKED.clear()
    assert alike(kept(prompts), EncodedText(Waves())(prompts), 2**-11)
    assert ASKED == [2]


def test_it_is_reopened_while_captions_and_encoder_are_the_same(tmp_path: Path) -> None:
    first = remembered(tmp_path)
    written = (tmp_path / "captions.safetensors").read_bytes()
    again = remembered(tmp_path, [*reversed(CAPTIONS), "a cat"])
    assert not ASKED and alike(first(CAPTIONS), again(CAPTIONS), 0)
    assert (tmp_path / "captions.safetensors").read_bytes() == written
    for changed in (
        remembered(tmp_path, CAPTIONS[:2]),
        remembered(tmp_path, CAPTIONS, EncodedText(Counting(), 5)),
        remembered(tmp_path, CAPTIONS, EncodedText(Counting(4), 5)),
    ):
        assert ASKED
        ASKED.clear()
        assert alike(changed(CAPTIONS[:2]), EncodedText(*vars(changed.conditioner).values())(CAPTIONS[:2]), 2**-11)
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"


def test_many_are_encoded_in_batches_of_like_length_and_progress_is_reported(tmp_path: Path) -> None:
    captions = [" ".join(["cat"] * (1 + i % 7) + ["red"] * (i // 7 % 20)) for i in range(140)]
    ASKED.clear()
    condition: list[tuple[int, int]] = []
    kept = CachedText(
        EncodedText(Counting()), captions, tmp_path / "c.safetensors", lambda done, of: condition.append((done, of))
    )
    assert condition == [(64, 141), (128, 141), (141, 141)] and ASKED == [64, 64, 13]
    assert alike(kept(captions), EncodedText(Waves())(captions), 2**-11)


@pytest.mark.parametrize("n", [3, 1400])
def test_the_room_that_captions_take_is_known_before(n: int, tmp_path: Path) -> None:
    captions = [f"{'cat ' * (i % 7)}{'red ' * (i // 7 % 20)}house {i}" for i in range(n)]
    text = EncodedText(Waves(width=64))
    CachedText(text, captions, tmp_path / "c.safetensors")
    taken = (tmp_path / "c.safetensors").stat().st_size
    assert captions_size(text, captions) == pytest.approx(taken, abs=1024, rel=0.02)


def test_no_captions_leave_the_empty_one(tmp_path: Path) -> None:
    assert alike(remembered(tmp_path, [])([None]), EncodedText(Waves())([None]), 2**-11)


def test_a_damaged_file_and_one_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    remembered(tmp_path)
    path = tmp_path / "captions.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="the captions kept in .* cannot be read: .* or remove it"):
        remembered(tmp_path)
    assert path.read_bytes() == data
    files.write_tensors(path, {"weights": torch.ones(3)})
    with pytest.raises(FormatError, match="holds something else than captions: give another path"):
        remembered(tmp_path)
    assert list(files.read_tensors(path)[0]) == ["weights"]


@dataclass(frozen=True)
class Loud(Waves):
    """Beyond what float16 holds."""

    def __call__(self, ids: Sequence[Sequence[int]]) -> Condition:
        return super().__call__(ids).map(lambda value: value if value.dtype == torch.bool else value * 1e6)


def test_numbers_too_large_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="too large for float16"):
        remembered(tmp_path, CAPTIONS, EncodedText(Loud()))
    assert not list(tmp_path.iterdir())
