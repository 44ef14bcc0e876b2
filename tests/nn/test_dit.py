"""The diffusion transformer: its cost, its attention as the formula, its places, what it refuses; the rest is in
test_networks."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sfumato.errors import InputError
from sfumato.nn.image.dit import DiT, positions
from sfumato.nn.modulated import SequenceAttention

SMALL: dict[str, Any] = {"width": 32, "depth": 2, "head_width": 8}
WIDTHS: dict[str, Any] = {"vector": 3, "context": 5, "concat": 2}
KINDS: dict[str, dict[str, Any]] = {
    "patched": {},
    "unpatched": {"patch": 1},
    "coarse": {"patch": 4, "mlp": 1.5},
    "single": {"depth": 1, "head_width": 32},
}


def small(kind: str = "patched", awake: bool = True, **arguments: Any) -> DiT:
    """A small network, by default with its zeros replaced, since a network at its start answers nothing but zero."""
    torch.manual_seed(0)
    network = DiT(**{**SMALL, **KINDS[kind], **arguments}).eval()
    for parameter in network.parameters():
        if awake and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network


def meta(**arguments: Any) -> DiT:
    with torch.device("meta"):
        return DiT(**arguments)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def condition(b: int = 2, k: int = 4) -> dict[str, Tensor]:
    """A tensor for every input; the last two tokens are masked."""
    mask = torch.arange(k).expand(b, k) < k - 2
    return {"vector": drawn(b, 3, seed=1), "context": drawn(b, k, 5, seed=2), "mask": mask, "concat": drawn(b, 2, 8, 8)}


def gap(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


@pytest.mark.parametrize(
    ("arguments", "published"),
    [
        ({}, 6.06),
        ({"patch": 8}, 0.36),
        ({"width": 768, "patch": 4}, 5.56),
        ({"width": 1152, "depth": 28, "head_width": 72}, 118.64),
    ],
    ids=["S/2", "S/8", "B/4", "XL/2"],
)
def test_it_costs_what_the_paper_says(arguments: dict[str, Any], published: float) -> None:
    """Billions of multiplications for a latent of 32×32×4 with a learned variance: DiT, table 4."""
    network = meta(in_channels=4, out_channels=8, **arguments)
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 4, 32, 32, device="meta"), torch.empty(1, device="meta"))
    of_every_block = 6 * network.width**2 * (network.depth - 1)  # the layer that blocks share here and not there
    assert (counter.get_total_flops() / 2 + of_every_block) / 1e9 == pytest.approx(published, abs=0.006, rel=0.001)


def test_a_block_starts_as_no_change() -> None:
    network = small(awake=False, context=5)
    x = drawn(2, 7, 32)
    assert torch.equal(network.blocks[0](x, torch.zeros(2, 6, 32), drawn(2, 4, 5), None), x)


@pytest.mark.parametrize(("width", "head_width"), [(1, 1), (5, 5), (7, 1), (48, 16)])
def test_odd_widths(width: int, head_width: int) -> None:
    out = small(width=width, head_width=head_width)(drawn(1, 3, 8, 8), torch.tensor([3.0]))
    assert out.shape == (1, 3, 8, 8) and out.isfinite().all()


def test_a_patch_stays_in_its_place() -> None:
    """With the blocks asleep, a change of one square changes the answer there and nowhere else."""
    network = small(depth=1)
    nn.init.zeros_(network.modulate.weight)
    nn.init.zeros_(network.modulate.bias)
    nn.init.zeros_(network.blocks[0].table)
    x, t = drawn(1, 3, 8, 12), torch.tensor([3.0])
    moved = x.clone()
    moved[..., 4:6, 8:10] += drawn(3, 2, 2, seed=1)
    with torch.no_grad():
        changed = (network(moved, t) - network(x, t)).abs().amax((0, 1)) > 1e-4
    assert changed[4:6, 8:10].all() and changed.sum() == 4


@pytest.mark.parametrize("context", [0, 6])
@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_its_formula(heads: int, context: int) -> None:
    torch.manual_seed(0)
    attention = SequenceAttention(16, heads, context)
    nn.init.normal_(attention.gain, mean=1.0)
    x = drawn(2, 7, 16)
    others = drawn(2, 5, context, seed=1) if context else None
    mask = torch.tensor([[True, True, True, False, False], [True] * 5]) if context else None
    with torch.no_grad():
        q, mixed = attention.query(x), torch.zeros_like(x)
        k, v = attention.key_value(x if others is None else others).chunk(2, dim=-1)
        width = 16 // heads
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            q_unit, k_unit = (one / one.square().mean(-1, keepdim=True).sqrt() for one in (q[..., part], k[..., part]))
            logits = (q_unit * attention.gain) @ k_unit.transpose(1, 2) / math.sqrt(width)
            if mask is not None:
                logits = logits.masked_fill(~mask[:, None], -math.inf)
            mixed[..., part] = logits.softmax(-1) @ v[..., part]
        assert gap(attention(x, others, mask), attention.out(mixed)) < 1e-5


def test_a_block_is_its_formula() -> None:
    network = small(context=5)
    block, x, shared, context = network.blocks[1], drawn(2, 7, 32), drawn(2, 6, 32, seed=1), drawn(2, 4, 5, seed=2)

    def normed(x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()

    def gelu(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())

    with torch.no_grad():
        nn.init.normal_(block.norm_tokens.weight)
        shift1, scale1, gate1, shift2, scale2, gate2 = ((shared + block.table)[:, i, None] for i in range(6))
        wanted = x + gate1 * block.to_self(normed(x) * (1 + scale1) + shift1)
        wanted = wanted + block.to_tokens(normed(wanted) * block.norm_tokens.weight + block.norm_tokens.bias, context)
        wanted = wanted + gate2 * block.narrow(gelu(block.widen(normed(wanted) * (1 + scale2) + shift2)))
        assert gap(block(x, shared, context, None), wanted) < 1e-4


def test_logits_do_not_grow_with_the_weights() -> None:
    attention = SequenceAttention(16, 2)
    x = drawn(2, 7, 16)
    with torch.no_grad():
        before = attention(x)
        for layer in (attention.query, attention.key_value):
            layer.weight[:16] *= 100
            layer.bias[:16] *= 100
        assert gap(attention(x), before) < 1e-3


@pytest.mark.parametrize("channels", [16, 9])
def test_positions_are_those_of_the_formula(channels: int) -> None:
    def waves(place: int, width: int) -> list[float]:
        half = width // 2
        angles = [place * 10_000 ** (-i / max(half - 1, 1)) for i in range(half)]
        return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles] + [0.0] * (width % 2)

    found = positions(3, 5, channels)
    assert found.shape == (15, channels) and found.dtype == torch.float32
    for place, row in enumerate(found.tolist()):
        wanted = waves(place // 5, channels // 2) + waves(place % 5, channels - channels // 2)
        assert row == pytest.approx(wanted, abs=1e-5)


def test_every_place_differs_and_a_larger_grid_begins_as_the_smaller() -> None:
    large, little = positions(64, 48, 32), positions(8, 12, 32)
    assert torch.cdist(large, large).fill_diagonal_(1).min() > 1e-3
    assert torch.equal(large.reshape(64, 48, 32)[:8, :12].flatten(0, 1), little)


def test_positions_are_distinguished() -> None:
    network = small()
    x, t = drawn(1, 3, 8, 8), torch.tensor([10.0])
    shifted = x.roll((2, 4), (2, 3))  # whole patches: without positions the answer would only roll along
    with torch.no_grad():
        assert gap(network(shifted, t), network(x, t).roll((2, 4), (2, 3))) > 1e-2


def test_from_its_start_it_wakes_within_three_steps() -> None:
    """The last layer first, then the gates, then all that they let through."""
    network = small(awake=False, **WIDTHS)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    x, wanted = drawn(2, 3, 8, 8), drawn(2, 3, 8, 8, seed=9)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x, torch.tensor([10.0, 700.0]), **condition()) - wanted).square().mean().backward()
        optimizer.step()
    assert [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth must be from 1 to 128, not 0"),
        ({"patch": 0}, "patch must be from 1 to 64, not 0"),
        ({"head_width": 0}, "head_width must be from 1 to 8,192, not 0"),
        ({"head_width": -8}, "head_width must be from 1 to 8,192, not -8"),
        ({"width": 40, "head_width": 16}, "head_width 16 does not divide the width 40"),
        ({"mlp": 0.0}, "mlp must be at least 1/width and at most 64, not 0.0"),
        ({"mlp": -4.0}, "mlp must be .*, not -4.0"),
        ({"mlp": 65.0}, "mlp must be .*, not 65.0"),
        ({"mlp": math.nan}, "mlp must be .*, not nan"),
        ({"modulation": "single"}, "modulation must be 'shared' or 'block', not 'single'"),
        ({"null": True}, "give vector as well"),
        ({"base_size": 0}, "base_size must be from 1 to 65,536 .*, not 0 and 384"),
        ({"base_size": 8, "width": 30, "head_width": 30}, "a multiple of 4, not 8 and 30"),
        ({"frequency_shift": -1.0}, "frequency_shift must be from 0 to below 128, not -1.0"),
        ({"frequency_shift": 128.0}, "frequency_shift must be .*, not 128.0"),
        ({"frequency_shift": math.nan}, "frequency_shift must be .*, not nan"),
        ({"mlp_eps": 0.0}, "mlp_eps must be above 0 and below 1, not 0.0"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        meta(**arguments)


def copied(ours: DiT, theirs: nn.Module) -> None:
    """Give diffusers' DiTTransformer2DModel our weights: each block's layer is the shared one with the block's table
    in the bias, and the norms of queries and keys, which it lacks, are put in."""
    width, p, out = ours.width, ours.patch, ours.out_channels
    with torch.no_grad():
        theirs.pos_embed.proj.weight.copy_(ours.enter.weight.reshape(width, -1, p, p))
        theirs.pos_embed.proj.bias.copy_(ours.enter.bias)
        theirs.pos_embed.pos_embed.copy_(positions(theirs.height // p, theirs.width // p, width)[None])
        for block, own in zip(theirs.transformer_blocks, ours.blocks, strict=True):
            block.norm1.linear.weight.copy_(ours.modulate.weight)
            block.norm1.linear.bias.copy_(ours.modulate.bias + own.table.flatten())
            embedder = block.norm1.emb.timestep_embedder
            embedder.linear_1.weight.copy_(ours.time.enter.weight.roll(128, dims=1))  # theirs has the cosines first
            embedder.linear_1.bias.copy_(ours.time.enter.bias)
            embedder.linear_2.load_state_dict(ours.time.leave.state_dict())
            block.norm1.emb.class_embedder.embedding_table.weight[: ours.vector].copy_(ours.project.weight.T)
            attention = own.to_self
            block.attn1.to_q.load_state_dict(attention.query.state_dict())
            block.attn1.to_out[0].load_state_dict(attention.out.state_dict())
            for part, to in enumerate((block.attn1.to_k, block.attn1.to_v)):
                to.weight.copy_(attention.key_value.weight.chunk(2)[part])
                to.bias.copy_(attention.key_value.bias.chunk(2)[part])
            block.attn1.norm_q, block.attn1.norm_k = (nn.RMSNorm(ours.head_width, eps=1e-6) for _ in range(2))
            block.attn1.norm_q.weight.copy_(attention.gain)
            block.ff.net[0].proj.load_state_dict(own.widen.state_dict())
            block.ff.net[2].load_state_dict(own.narrow.state_dict())
        theirs.proj_out_1.load_state_dict(ours.modulate_last.state_dict())
        theirs.proj_out_2.weight.copy_(ours.leave.weight.reshape(out, p, p, width).permute(1, 2, 0, 3).flatten(0, 2))
        theirs.proj_out_2.bias.copy_(ours.leave.bias.reshape(out, p, p).permute(1, 2, 0).flatten())


def test_diffusers_answers_alike_with_the_same_weights() -> None:
    diffusers = pytest.importorskip("diffusers")
    ours = small(in_channels=4, out_channels=8, vector=3, frequency_shift=1.0)  # not as its authors
    for block in ours.blocks:
        nn.init.normal_(block.to_self.gain, mean=1.0)
    theirs = diffusers.DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=8,
        num_embeds_ada_norm=3,
        norm_eps=1e-6,
    ).eval()
    copied(ours, theirs)
    x, t, labels = drawn(2, 4, 8, 8), torch.tensor([10, 700]), torch.tensor([2, 0])
    with torch.no_grad():
        wanted = theirs(x, t, labels).sample
        assert wanted.std() > 0.05
        found = ours(x, t, vector=nn.functional.one_hot(labels, 3))
        assert gap(found, wanted) < 1e-4 * wanted.abs().max()


AS_PUBLISHED: dict[str, Any] = {"modulation": "block", "qk_norm": False, "null": True, "vector": 3, "base_size": 4}


def test_as_published_it_starts_at_zero_and_every_weight_learns() -> None:
    x, t, vector = drawn(2, 3, 8, 8), torch.tensor([10.0, 700.0]), torch.tensor([[0.0, 1.0, 0.0], [0.0] * 3])
    asleep = small(awake=False, **AS_PUBLISHED)
    assert not asleep(x, t, vector=vector).any()
    assert not any(block.modulate.weight.any() for block in asleep.blocks)  # pyright: ignore[reportAttributeAccessIssue]
    network = small(**AS_PUBLISHED)
    network(x, t, vector=vector).square().sum().backward()
    unmoved = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unmoved


@pytest.mark.parametrize(("shift", "own"), [({}, 0), ({"frequency_shift": 0.0}, 0), ({"frequency_shift": 1.0}, 1)])
@pytest.mark.parametrize("kind", [AS_PUBLISHED, {"vector": 3}], ids=["published", "ours"])
def test_time_is_written_in_the_frequencies_of_the_released_code(
    kind: dict[str, Any], shift: dict[str, Any], own: int
) -> None:
    """`exp(−log(10000)·i/128)` (DiT, models.py; SiT, models.py); i/127 is diffusers'."""
    network, seen = small(**kind, **shift), []
    network.time.enter.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    times = np.array([0.0, 3.0, 977.0])
    network(torch.zeros(3, 3, 8, 8), torch.from_numpy(times), vector=torch.eye(3))
    angle = times[:, None] * np.exp(-math.log(10_000) * np.arange(128) / (128 - own))
    assert np.abs(seen[0].detach().numpy() - np.concatenate([np.sin(angle), np.cos(angle)], 1)).max() < 1e-4


def test_no_class_has_a_column_of_its_own() -> None:
    network = small(**AS_PUBLISHED)
    x, t = drawn(1, 3, 8, 8), torch.tensor([10.0])
    with torch.no_grad():
        before = network(x, t, vector=torch.zeros(1, 3)), network(x, t, vector=torch.eye(3)[:1])
        assert network.project is not None
        network.project.weight[:, 3] += 1
        after = network(x, t, vector=torch.zeros(1, 3)), network(x, t, vector=torch.eye(3)[:1])
    assert gap(after[0], before[0]) > 1e-3 and torch.equal(after[1], before[1])


def test_positions_are_scaled_to_the_size_trained_on() -> None:
    """Two waves for a column and two for a row: of frequency 1 and 1/100."""
    found = positions(3, 2, 8, base_size=6).reshape(3, 2, 8)
    column, row = 1 * 6 / 2, 2 * 6 / 3
    for at, waves in ((column, found[2, 1, :4]), (row, found[2, 1, 4:])):
        wanted = [math.sin(at), math.sin(at / 100), math.cos(at), math.cos(at / 100)]
        assert gap(waves, torch.tensor(wanted)) < 1e-6
