"""The spatial transformer: by its formula, place by place, and by either kind of projection."""

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from sfumato.nn.attention import flat, unflat
from sfumato.nn.spatial_transformer import HeadedAttention, SpatialTransformer


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def awake(
    context: int = 6, depth: int = 2, projection: Literal["linear", "convolution"] = "linear"
) -> SpatialTransformer:
    torch.manual_seed(0)
    transformer = SpatialTransformer(16, 4, depth, context, groups=4, projection=projection)
    nn.init.normal_(transformer.leave.weight, std=0.25)
    return transformer


def attended(attention: HeadedAttention, x: Tensor, others: Tensor, mask: Tensor | None = None) -> Tensor:
    """`out(softmax(q·kᵀ/√d)·v)`, head by head."""
    q, (k, v) = attention.query(x), attention.key_value(others).chunk(2, dim=-1)
    width = x.shape[-1] // attention.heads
    parts: list[Tensor] = []
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        logits = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(width)
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], -math.inf)
        parts.append(logits.softmax(-1) @ v[..., part])
    return attention.out(torch.cat(parts, dim=-1))


@pytest.mark.parametrize("context", [0, 6])
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_the_transformer_is_its_formula(context: int, masked: bool) -> None:
    transformer = awake(context)
    x, others = drawn(2, 16, 3, 5), drawn(2, 4, 6, seed=1)
    mask = torch.tensor([[True, True, False, False], [True] * 4]) if masked and context else None
    grouped = x.reshape(2, 4, -1)
    grouped = (grouped - grouped.mean(-1, keepdim=True)) / (grouped.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    h = transformer.enter(flat(grouped.reshape(x.shape)))  # a norm starts with a gain of one and no offset
    for block in transformer.blocks:
        normed = block.norm1(h)
        h = h + attended(block.to_self, normed, normed)
        if context:
            h = h + attended(block.to_tokens, block.norm_tokens(h), others, mask)
        u, g = block.widen(block.norm2(h)).chunk(2, dim=-1)
        h = h + block.narrow(u * g * (1 + torch.erf(g / math.sqrt(2))) / 2)
    wanted = x + unflat(transformer.leave(h), (3, 5))
    found = transformer(x, others if context else None, mask)
    assert (found - wanted).abs().max() < 1e-5 and (found - x).std() > 0.1


@torch.no_grad()
def test_a_convolution_of_one_place_is_a_linear_layer() -> None:
    linear, convolution = awake(), awake(projection="convolution")
    for name, tensor in convolution.state_dict().items():
        tensor.copy_(linear.state_dict()[name].reshape(tensor.shape))
    assert convolution.enter.weight.shape == (16, 16, 1, 1)
    x, context = drawn(2, 16, 3, 5), drawn(2, 4, 6, seed=1)
    assert (convolution(x, context) - linear(x, context)).abs().max() < 1e-5


@pytest.mark.parametrize("projection", ["linear", "convolution"])
def test_it_starts_as_no_change(projection: Literal["linear", "convolution"]) -> None:
    x = drawn(2, 16, 3, 5)
    assert torch.equal(SpatialTransformer(16, 4, groups=4, projection=projection)(x), x)


def test_places_are_read_row_by_row() -> None:
    x = torch.arange(12.0).reshape(1, 2, 2, 3)
    assert flat(x)[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(unflat(flat(x), (2, 3)), x)
