"""The text encoder that is trained with its network: its formula, its mask, and the network conditioned on it."""

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from stirring import stirred
from torch import Tensor

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.unet import UNet
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText

IDS = torch.tensor([[1, 5, 3, 2], [1, 2, 0, 0]])
MASK = torch.tensor([[True] * 4, [True, True, False, False]])


def network(vector: int = 8, context: int = 8) -> UNet:
    return UNet(1, 1, width=8, multipliers=(1, 2), blocks=1, attention=(1,), vector=vector, context=context)


def written_out(text: TextTransformer, ids: Tensor) -> Tensor:
    """The transformer by its formula, for one text of which all counts: [k, width]."""
    x = text.words[ids] + text.places[: len(ids)]
    block: Any
    for block in text.blocks:
        q, k, v = block.query_key_value(block.norm1(x)).split(text.width, dim=-1)
        heads = []
        for part in (slice(0, 4), slice(4, 8)):
            logits = q[:, part] @ k[:, part].T / math.sqrt(4)
            heads.append(logits.softmax(-1) @ v[:, part])
        x = x + block.out(torch.cat(heads, dim=-1))
        h = block.widen(block.norm2(x))
        x = x + block.narrow(h * (1 + torch.erf(h / math.sqrt(2))) / 2)
    return text.norm(x)


def test_it_is_its_formula_and_does_not_see_what_is_masked() -> None:
    text = stirred(TextTransformer(7, 8, layers=2, heads=2, length=5))
    assert isinstance(text, TextTransformer)
    with torch.no_grad():
        found = text(IDS, MASK)
        for row, count in ((0, 4), (1, 2)):
            assert (found[row, :count] - written_out(text, IDS[row, :count])).abs().max() < 1e-5
        assert (found[0] - text(IDS.flip(1), MASK)[0].flip(0)).abs().max() > 1e-2, "places matter"


def test_the_network_gets_vectors_and_their_mean() -> None:
    torch.manual_seed(0)
    both = stirred(WithText(network(), TextTransformer(7, 8, 1, 2, 5)))
    assert isinstance(both, WithText)
    x, time = torch.randn(2, 1, 8, 8), torch.tensor([0.1, 0.9])
    with torch.no_grad():
        states = both.text(IDS, MASK)
        mean = torch.stack([states[0].mean(0), states[1, :2].mean(0)])
        wanted = both.network(x, time, vector=mean, context=states, mask=MASK)
        assert (both(x, time, context=IDS[..., None], mask=MASK) - wanted).abs().max() < 1e-6
        other = both(x, time, context=(IDS[..., None] + 1) % 7, mask=MASK)
        assert (other - wanted).abs().max() > 1e-3


def test_both_are_trained() -> None:
    both = stirred(WithText(network(vector=0), TextTransformer(7, 8, 1, 2, 5)))
    both(torch.randn(2, 1, 8, 8), torch.tensor([0.1, 0.9]), context=IDS[..., None], mask=MASK).square().sum().backward()
    for name, parameter in both.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_around_it_is_the_network_with_an_input_for_token_ids() -> None:
    both = WithText(network(vector=0), TextTransformer(7, 8, 1, 2, 5))
    assert (both.in_channels, both.out_channels, both.vector, both.context, both.concat) == (1, 1, 0, 1, 0)
    both.check_size(8, 6)
    with pytest.raises(ShapeError, match="the nearest that fits"):
        both.check_size(0, 8)


@pytest.mark.parametrize(("vector", "context"), [(0, 0), (0, 6), (6, 8)])
def test_a_network_of_another_width_is_refused(vector: int, context: int) -> None:
    with pytest.raises(InputError, match=f"context should be 8, .* not {context} and {vector}"):
        WithText(network(vector, context), TextTransformer(7, 8, 1, 2, 5))


def test_what_it_cannot_read_is_refused() -> None:
    both, x, time = WithText(network(), TextTransformer(7, 8, 1, 2, 3)), torch.zeros(2, 1, 8, 8), torch.zeros(2)
    with pytest.raises(InputError, match="takes token ids in `context`"):
        both(x, time)
    with pytest.raises(InputError, match="takes token ids in `context`"):
        both(x, time, context=torch.zeros(2, 4, 8), mask=MASK)
    with pytest.raises(ShapeError, match="reads 3 tokens, and was given 4"):
        both(x, time, context=IDS[..., None], mask=MASK)


@pytest.mark.parametrize("wrong", [{"vocabulary": 0}, {"heads": 3}, {"length": 0}, {"layers": 65}])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        TextTransformer(**{"vocabulary": 7, "width": 8, "heads": 2, **wrong})


def test_it_is_built_on_no_memory_without_loading_the_compiler() -> None:
    code = (
        "import sys, torch; from sfumato.nn.text.transformer import TextTransformer\n"
        "with torch.device('meta'): TextTransformer(50)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
