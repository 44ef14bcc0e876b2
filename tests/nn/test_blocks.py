"""The pieces: sinusoids by their formula, attention by its own, changes of size, norms of any width."""

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from sfumato.nn.attention import Attention
from sfumato.nn.blocks import Down, Residual, Up, norm, zero
from sfumato.nn.embedding import TimeEmbedding, sinusoidal


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [4, 128])
def test_sinusoids_are_those_of_the_formula(width: int) -> None:
    times = [0.0, 1.0, 17.25, 999.0]
    found = sinusoidal(torch.tensor(times), width)
    half = width // 2
    for row, t in zip(found, times, strict=True):
        angles = [t * 10_000 ** (-i / (half - 1)) for i in range(half)]
        wanted = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        assert row.tolist() == pytest.approx(wanted, abs=2e-4)  # float32 at an angle of 999
    assert found.dtype == torch.float32


def test_sinusoids_reach_from_one_to_the_longest() -> None:
    quarter = torch.tensor([math.pi / 2])
    assert sinusoidal(quarter, 8)[0, 0] == pytest.approx(1)
    assert sinusoidal(100 * quarter, 8, longest=100.0)[0, 3] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_sinusoids_of_any_width(width: int) -> None:
    found = sinusoidal(torch.tensor([3.0, 5.0]), width)
    assert found.shape == (2, width) and found.isfinite().all()
    if width % 2:
        assert (found[:, -1] == 0).all()


@pytest.mark.parametrize("cosine_first", [False, True])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("width", [64, 7])
def test_diffusers_embeds_time_alike(cosine_first: bool, shift: int, width: int) -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    times = torch.tensor([0.0, 1.0, 250.5, 999.0])
    theirs = embeddings.get_timestep_embedding(times, width, cosine_first, shift)
    found = sinusoidal(times, width, cosine_first=cosine_first, frequency_shift=shift)
    assert (found - theirs).abs().max() < 1e-4


def test_time_is_embedded_in_the_type_of_the_weights_but_counted_in_float32() -> None:
    embedding = TimeEmbedding(16, 32).bfloat16()
    found = embedding(torch.tensor([997.0, 998.0]))
    assert found.shape == (2, 32) and found.dtype == torch.bfloat16
    assert not torch.equal(found[0], found[1])


def attend(attention: Attention, x: Tensor, others: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """`x + out(softmax(q·kᵀ/√width)·v)`, written out, place by place."""
    b, c, h, w = x.shape
    places = attention.norm(x).flatten(2).transpose(1, 2)  # [b, hw, c]
    others = places if others is None else others
    q = attention.query(places)
    k, v = attention.key_value(others).chunk(2, dim=-1)
    width = c // attention.heads
    mixed = torch.zeros_like(q)
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        logits = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(width)
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], -math.inf)
        mixed[..., part] = logits.softmax(-1) @ v[..., part]
    return x + attention.out(mixed).transpose(1, 2).reshape(b, c, h, w)


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("context", [0, 6])
def test_attention_is_its_formula(heads: int, context: int) -> None:
    torch.manual_seed(0)
    attention = Attention(16, heads, context)
    nn.init.normal_(attention.out.weight)
    x = drawn(2, 16, 3, 4)
    others = drawn(2, 5, context, seed=1) if context else None
    mask = torch.tensor([[True, True, True, False, False], [True] * 5]) if context else None
    with torch.no_grad():
        assert (attention(x, others, mask) - attend(attention, x, others, mask)).abs().max() < 1e-5


def test_attention_starts_as_no_change() -> None:
    x = drawn(2, 16, 3, 4)
    assert torch.equal(Attention(16, 2)(x), x)


@pytest.mark.parametrize("channels", [1, 3, 5, 7, 40, 48, 64, 100, 128])
def test_norms_fit_any_number_of_channels(channels: int) -> None:
    layer = norm(channels)
    assert channels % layer.num_groups == 0 and 1 <= layer.num_groups <= 32
    assert layer(drawn(2, channels, 4, 4)).shape == (2, channels, 4, 4)


@pytest.mark.parametrize("channels", [8, 16, 32])
def test_norms_of_few_channels_keep_several_to_a_group(channels: int) -> None:
    assert channels // norm(channels).num_groups > 1


def test_down_halves_and_up_doubles() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert Down(1, learned=False)(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert Up(1, learned=False)(x[..., :1, :2]).tolist() == [[[[0, 0, 1, 1], [0, 0, 1, 1]]]]
    assert Down(1)(x).shape == (1, 1, 2, 2) and Up(1)(x).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(("padding", "first"), [("both", 0), ("end", 1)])
def test_a_border_at_the_end_shifts_what_a_convolution_sees(padding: Literal["both", "end"], first: int) -> None:
    """A kernel that takes the middle of its square sees the even places behind a border on all sides, else the odd."""
    down = Down(1, padding=padding)
    with torch.no_grad():
        down.conv.weight.zero_()[..., 1, 1] = 1
        down.conv.bias.zero_()
        x = torch.arange(16.0).reshape(1, 1, 4, 4)
        assert torch.equal(down(x), x[..., first::2, first::2])


def test_attention_without_a_norm_sees_the_picture_as_it_is() -> None:
    torch.manual_seed(0)
    attention = Attention(16, 2, groups=0)
    nn.init.normal_(attention.out.weight)
    x = 3 + drawn(2, 16, 3, 4)
    with torch.no_grad():
        assert (attention(x) - attend(attention, x)).abs().max() < 1e-4
        assert isinstance(attention.norm, nn.Identity)


@pytest.mark.parametrize(("resample", "side"), [(None, 4), ("down", 2), ("up", 8)])
@pytest.mark.parametrize("scale_shift", [False, True])
@pytest.mark.parametrize("out", [8, 12])
def test_a_residual_block_starts_as_its_shortcut(resample: str | None, side: int, scale_shift: bool, out: int) -> None:
    block = Residual(8, out, 10, scale_shift=scale_shift, resample=resample)
    x = drawn(2, 8, 4, 4)
    with torch.no_grad():
        found = block(x, drawn(2, 10))
        assert found.shape == (2, out, side, side)
        assert torch.equal(found, block.skip(block.resample(x)))


def test_scale_and_shift_are_those_of_the_embedding() -> None:
    block = Residual(8, 8, 4, scale_shift=True)
    with torch.no_grad():
        block.conv2.weight.copy_(torch.eye(8)[:, :, None, None] * torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]]))
        nn.init.zeros_(block.embed.weight)
        block.embed.bias.copy_(torch.cat([torch.full((8,), 0.5), torch.full((8,), -2.0)]))
        x = drawn(2, 8, 4, 4)
        h = 1.5 * block.norm2(block.conv1(nn.functional.silu(block.norm1(x)))) - 2
        assert (block(x, drawn(2, 4)) - (x + nn.functional.silu(h))).abs().max() < 1e-5


def test_zero_leaves_nothing_but_zeros() -> None:
    layer = zero(nn.Linear(3, 4))
    assert not any(parameter.any() for parameter in layer.parameters())
