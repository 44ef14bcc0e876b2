"""The conditioner of texts: its inputs, its masks, and what it does not read."""

import pytest
import torch
from small_encoder import WORDS, Waves

from sfumato.condition import Conditioner, EncodedText
from sfumato.condition.encoders.protocol import TextEncoder
from sfumato.condition.encoders.tokenizer import Tokenizer
from sfumato.errors import FormatError, InputError

TEXT = EncodedText(Waves())
PROMPTS = ["a cat", None, "a red house in a hat", "", "a cat"]


def test_it_is_a_conditioner_and_its_encoder_one() -> None:
    assert isinstance(TEXT, Conditioner) and isinstance(TEXT.encoder, TextEncoder)
    assert TEXT.widths == {"vector": 6, "context": 6} and TEXT.dropout == 0.1


def test_tokens_are_padded_with_zeros_that_do_not_count() -> None:
    condition = TEXT(PROMPTS)
    assert (
        condition.vector is not None
        and condition.context is not None
        and condition.mask is not None
        and condition.concat is None
    )
    assert condition.vector.shape == (5, 6) and condition.context.shape == (5, 8, 6)
    assert condition.mask.dtype == torch.bool and condition.mask.sum(1).tolist() == [4, 2, 8, 2, 4]
    assert (condition.mask.int().diff(dim=1) <= 0).all(), "what counts stands before what does not"
    assert (condition.context[~condition.mask] == 0).all()


def test_each_prompt_has_the_vectors_of_its_own_tokens() -> None:
    condition = TEXT(PROMPTS)
    assert condition.vector is not None and condition.context is not None
    for row, prompt in enumerate(PROMPTS):
        ids = [WORDS.index(word) for word in f"[CLS] {prompt or ''} [SEP]".split()]
        wanted = torch.tensor([[float(i + j + n) for n in range(6)] for j, i in enumerate(ids)]).sin()
        assert (condition.context[row, : len(ids)] - wanted).abs().max() < 1e-6
        scaled = wanted.mean(0) / wanted.mean(0).square().mean().sqrt()
        assert (condition.vector[row] - scaled).abs().max() < 1e-6


def test_a_prompt_is_encoded_alike_alone_and_in_a_batch() -> None:
    together = TEXT(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = TEXT([prompt])
        for one, all_ in ((alone.vector, together.vector), (alone.context, together.context)):
            assert one is not None and all_ is not None
            assert torch.equal(one[0], all_[row, : len(one[0])])


def test_none_is_the_empty_text() -> None:
    none, empty = TEXT([None]), TEXT([""])
    assert none.context is not None and empty.context is not None and torch.equal(none.context, empty.context)
    assert none.mask is not None and none.mask.all() and none.mask.shape == (1, 2)


def test_emoji_are_encoded_by_name() -> None:
    named, drawn = TEXT(["a cat face in a hat"]), TEXT(["a 🐱 in a hat"])
    assert named.context is not None and drawn.context is not None and torch.equal(named.context, drawn.context)
    assert TEXT.normalize("a 🐱 in a hat") == "a cat face in a hat"


@pytest.mark.parametrize(
    ("length", "prompt", "lost"),
    [
        (8, "a red house in a hat", ""),
        (7, "a red house in a hat", "hat"),
        (4, "a red house in a hat", "house in a hat"),
        (4, "a  red  🐱", "cat face"),
        (4, "a housetop", "top"),
        (4, "a House, a HAT", ", a HAT"),
        (4, "猫猫猫 a", "猫 a"),
        (4, None, ""),
        (4, "", ""),
    ],
)
def test_the_truncated_part_is_returned(length: int, prompt: str | None, lost: str) -> None:
    text = EncodedText(Waves(), length)
    assert text.truncated(prompt) == lost
    kept = text.normalize(prompt).removesuffix(lost)
    whole, short = text([prompt]).context, text([kept]).context
    assert whole is not None and short is not None and whole.shape[1] <= length
    assert torch.equal(whole, short), "the part reported as lost makes no difference"


def test_ten_thousand_characters_are_no_problem() -> None:
    long = "a cat in a hat " * 700
    assert len(TEXT.truncated(long)) == len(long.strip()) - len(("a cat in a hat " * 6).strip()) - 1
    for prompt in (long, "x" * 10_000, "🐱" * 10_000, "猫" * 10_000, "\x00" * 10_000):
        tokens = TEXT([prompt]).context
        assert tokens is not None and tokens.shape[1] <= 32 and tokens.isfinite().all()


@pytest.mark.parametrize("length", [-1, 0, 3, 41])
def test_a_length_that_cannot_be_is_refused(length: int) -> None:
    with pytest.raises(InputError, match="length must be from 4 to 40, what the encoder reads, not"):
        EncodedText(Waves(), length)


def test_a_number_is_no_text() -> None:
    with pytest.raises(InputError, match="in words, not 3"):
        TEXT(["a cat", 3])


def test_the_fingerprint_is_of_what_decides_the_vectors() -> None:
    prints = {EncodedText(*each).fingerprint() for each in [(Waves(),), (Waves(7),), (Waves(), 31)]}
    assert len(prints) == 3 and EncodedText(Waves(), dropout=0.5).fingerprint() in prints


def test_a_broken_tokenizer_is_refused() -> None:
    with pytest.raises(FormatError, match="no tokenizer that can be read"):
        Tokenizer('{"version": "1.0"}')
