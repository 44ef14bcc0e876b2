"""What drawing asks of the conditioner."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from test_system import small

from condition.small_encoder import Waves
from sfumato.condition import EncodedText
from sfumato.core.condition import Condition
from sfumato.errors import InputError
from sfumato.parts import TEXT_ENCODERS
from sfumato.system.prompts import EncodedPrompts


@dataclass(frozen=True)
class Counting(Waves):
    """An encoder that notes the texts it was given."""

    def __post_init__(self) -> None:
        vars(self)["asked"] = []

    def __call__(self, ids: Sequence[Sequence[int]]) -> Condition:
        vars(self)["asked"].extend(tuple(row) for row in ids)
        return super().__call__(ids)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, encoder in (("counting", Counting), ("waves", Waves)):
        monkeypatch.setitem(TEXT_ENCODERS.kinds, kind, encoder)


def test_no_prompt_is_encoded_twice() -> None:
    """Neither to be checked, nor with another seed, nor in another batch, nor to be led away from in each."""
    encoder = Counting()
    system = small(EncodedText(encoder))
    system.generate(["a cat", "a dog", "a cat"], seeds=[0, 1, 2], batch=2, guidance=2.0)
    asked = vars(encoder)["asked"]
    assert len(asked) == len(set(asked)) == 3, "two prompts and the empty one"


def test_without_guidance_the_empty_prompt_is_not_encoded() -> None:
    encoder = Counting()
    small(EncodedText(encoder)).generate(["a cat"], batch=1, guidance=1.0)
    assert len(vars(encoder)["asked"]) == 1


def test_a_batch_of_one_is_drawn_as_alone_bit_for_bit() -> None:
    """No other prompt reaches it, not even by how long the encoder's batch is."""
    system = small(EncodedText(Waves()))
    prompts = ["a cat", "a house in a hat on a red house", "a dog"]
    together = system.generate(prompts, seeds=[5], batch=1, guidance=2.0)
    alone = [system.generate(prompt, seeds=[5], guidance=2.0).data for prompt in prompts]
    assert torch.equal(together.data, torch.cat(alone))


def test_every_prompt_is_checked_before_any_is_encoded() -> None:
    encoder = Counting()
    with pytest.raises(InputError, match="in words, not 3"):
        small(EncodedText(encoder)).generate(["a cat", "a dog", 3], batch=1)
    assert vars(encoder)["asked"] == []


def test_the_prompts_of_past_batches_are_not_kept() -> None:
    prompts = EncodedPrompts(EncodedText(Waves()), ["a cat", "a dog", "a cat", "a hat"], 1)
    for row in range(4):
        prompts.condition(slice(row, row + 1))
        assert list(prompts._rows) == (["a cat"] if row < 2 else [])


def test_prompts_of_several_batches_are_drawn_as_each_alone() -> None:
    system = small(EncodedText(Waves()))
    prompts = ["a cat", "a house in a hat", "a dog"]
    together = system.generate(prompts, seeds=[5, 6], batch=2, guidance=2.0)
    alone = [system.generate(prompt, seeds=[seed], guidance=2.0) for prompt in prompts for seed in (5, 6)]
    for row, one in zip(together.data, alone, strict=True):
        assert (row - one.data[0]).abs().max() < 1e-5
    assert torch.isfinite(together.data).all()
