"""The U-Net: its size and shape, its start at zero, its four doors, and what it refuses."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato.core.condition import Condition
from sfumato.errors import InputError, ShapeError
from sfumato.nn.unet import Stage, UNet

SMALL: dict[str, Any] = {"width": 40, "multipliers": (1, 2), "blocks": 1, "attention": (1,)}
DOORS: dict[str, Any] = {"vector": 3, "tokens": 5, "image": 2}
KINDS: dict[str, dict[str, Any]] = {
    "ddpm": {},
    "adm": {"scale_shift": True, "resample": "residual", "head_width": 8},
    "mixed": {"scale_shift": True, "attention": (0, 1), "head_width": 4, "blocks": 2},
    "patched": {"patch": 2},
    "latent": {"depth": (1, 2), "heads": (4, 2), "attention": (0, 1), "cosine_first": True, "vector_mlp": True},
    "converted": {"depth": (1, 1), "heads": (4, 2), "projection": "convolution", "padding": "end", "groups": 8},
    "bare": {"bottom": "bare attention", "scale_shift": True, "frequency_shift": 0.0, "multipliers": (1, 1.2)},
    "single": {"multipliers": (1,), "attention": ()},
}
each = pytest.mark.parametrize("kind", KINDS)


def small(kind: str = "ddpm", awake: bool = True, **arguments: Any) -> UNet:
    """A small network, by default with its zeros replaced, since a network at its start answers nothing but zero."""
    torch.manual_seed(0)
    network = UNet(**{**SMALL, **KINDS[kind], **arguments}).eval()
    for parameter in network.parameters():
        if awake and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network


def meta(**arguments: Any) -> UNet:
    with torch.device("meta"):
        return UNet(**arguments)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def told(b: int = 2, k: int = 4) -> dict[str, Tensor]:
    """Something through every door; the last two tokens are masked."""
    mask = torch.arange(k).expand(b, k) < k - 2
    return {"vector": drawn(b, 3, seed=1), "tokens": drawn(b, k, 5, seed=2), "mask": mask, "image": drawn(b, 2, 8, 8)}


def gap(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


def test_the_default_is_the_network_of_ddpm_on_cifar_10() -> None:
    assert count(meta()) == 35_746_307


def test_diffusers_counts_the_same_parameters() -> None:
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = diffusers.UNet2DModel(
            sample_size=32,
            block_out_channels=(128, 256, 256, 256),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=2,
            attention_head_dim=None,
        )
    ours = sorted(p.numel() for name, p in meta().named_parameters() if "key_value" not in name)
    split = [p.numel() for name, p in theirs.named_parameters() if "to_k" not in name and "to_v" not in name]
    assert count(theirs) == count(meta())
    assert ours == sorted(split)


@each
def test_the_start_is_exactly_zero(kind: str) -> None:
    network = small(kind, awake=False, **DOORS)
    assert torch.equal(network(drawn(2, 3, 8, 8), torch.tensor([1.0, 500.0]), **told()), torch.zeros(2, 3, 8, 8))


@each
@pytest.mark.parametrize("size", [(8, 8), (4, 12), (16, 4)])
@pytest.mark.parametrize("channels", [(3, 3), (1, 2), (5, 7)])
def test_any_channels_and_any_size_that_the_levels_divide(
    kind: str, size: tuple[int, int], channels: tuple[int, int]
) -> None:
    network = small(kind, in_channels=channels[0], out_channels=channels[1])
    out = network(drawn(2, channels[0], *size), torch.tensor([1.0, 500.0]))
    assert out.shape == (2, channels[1], *size)
    assert out.isfinite().all() and out.std() > 0


@pytest.mark.parametrize("width", [5, 7, 24, 40, 48])
def test_odd_widths(width: int) -> None:
    out = small(width=width)(drawn(1, 3, 8, 8), torch.tensor([3.0]))
    assert out.shape == (1, 3, 8, 8) and out.std() > 0


@each
def test_a_sample_does_not_depend_on_its_batch(kind: str) -> None:
    network = small(kind, **DOORS)
    x, t, doors = drawn(4, 3, 8, 8), torch.tensor([0.0, 10.0, 500.0, 999.0]), told(4)
    with torch.no_grad():
        together = network(x, t, **doors)
        for i in range(4):
            alone = network(x[[i]], t[[i]], **{name: door[[i]] for name, door in doors.items()})
            assert gap(together[[i]], alone) < 1e-5


@each
def test_every_parameter_learns(kind: str) -> None:
    network = small(kind, **DOORS)
    (network(drawn(2, 3, 8, 8), torch.tensor([10.0, 700.0]), **told()) * drawn(2, 3, 8, 8, seed=9)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-6, name


@each
def test_time_and_each_door_are_heard(kind: str) -> None:
    network = small(kind, **DOORS)
    x, t, doors = drawn(2, 3, 8, 8), torch.tensor([10.0, 700.0]), told()
    with torch.no_grad():
        out = network(x, t, **doors)
        assert gap(out, network(x, t + 5, **doors)) > 1e-4
        for door in ("vector", "image") if kind == "single" else DOORS:
            assert gap(out, network(x, t, **{**doors, door: doors[door] + 1})) > 1e-4, door


@pytest.mark.parametrize("width", [8, 16, 32])
def test_time_is_heard_at_every_level_of_a_narrow_network(width: int) -> None:
    hear_at_every_level(small(width=width))


@pytest.mark.parametrize(("width", "scale_shift"), [(64, False), (32, True), (16, True)])
def test_time_is_heard_at_every_level(width: int, scale_shift: bool) -> None:
    hear_at_every_level(small(width=width, scale_shift=scale_shift))


def hear_at_every_level(network: UNet) -> None:
    """Every residual block changes its answer with the embedding."""
    for name, block in network.named_modules():
        if type(block).__name__ == "Residual":
            x, embeddings = drawn(1, block.conv1.in_channels, 8, 8), drawn(2, 4 * network.width)
            low, high = (block(x, embedding[None]) for embedding in embeddings)
            assert gap(low, high) > 1e-3, name


@pytest.mark.parametrize("k", [2, 4])
def test_masked_tokens_count_for_nothing(k: int) -> None:
    network = small(**DOORS)
    x, t, doors = drawn(2, 3, 8, 8), torch.tensor([10.0, 700.0]), told(k=6)
    doors["mask"] = torch.arange(6).expand(2, 6) < k
    with torch.no_grad():
        out = network(x, t, **doors)
        garbled = torch.where(doors["mask"][..., None], doors["tokens"], 1e3)
        assert gap(out, network(x, t, **{**doors, "tokens": garbled})) < 1e-6
        cut = {**doors, "tokens": doors["tokens"][:, :k], "mask": doors["mask"][:, :k]}
        assert gap(out, network(x, t, **cut)) < 1e-5
        assert gap(out, network(x, t, **{**doors, "mask": None})) > 1e-4


def test_a_sample_all_of_whose_tokens_are_masked_is_finite_and_alters_no_other() -> None:
    network = small(**DOORS)
    x, t, doors = drawn(2, 3, 8, 8), torch.tensor([10.0, 700.0]), told()
    with torch.no_grad():
        out = network(x, t, **doors)
        doors["mask"] = doors["mask"].clone()
        doors["mask"][0] = False
        masked = network(x, t, **doors)
    assert masked.isfinite().all()
    assert gap(out[1], masked[1]) < 1e-5


def test_the_order_of_tokens_without_places_does_not_matter() -> None:
    network = small(tokens=5)
    x, t, tokens = drawn(1, 3, 8, 8), torch.tensor([10.0]), drawn(1, 4, 5, seed=2)
    with torch.no_grad():
        assert gap(network(x, t, tokens=tokens), network(x, t, tokens=tokens.flip(1))) < 1e-5


def test_the_doors_are_those_of_a_condition() -> None:
    network = small(**DOORS)
    x, t = drawn(2, 3, 8, 8), torch.tensor([10.0, 700.0])
    assert torch.equal(network(x, t, **told()), network(x, t, **Condition(**told()).open_doors()))


@pytest.mark.parametrize("door", DOORS)
def test_a_door_that_is_missing_is_named(door: str) -> None:
    doors = {name: value for name, value in told().items() if name != door}
    said = f"built to be told {DOORS[door]} numbers through `{door}`, and was told nothing through `{door}`"
    with pytest.raises(InputError, match=said):
        small(**DOORS)(drawn(2, 3, 8, 8), torch.tensor([1.0, 2.0]), **doors)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_that_was_never_built_is_named(door: str) -> None:
    said = f"built to be told nothing through `{door}`, and was told {DOORS[door]} numbers through `{door}`"
    with pytest.raises(InputError, match=said):
        small()(drawn(2, 3, 8, 8), torch.tensor([1.0, 2.0]), **{door: told()[door]})


@pytest.mark.parametrize(
    ("door", "shape"), [("vector", (2, 4)), ("tokens", (2, 4, 6)), ("image", (2, 1, 8, 8))], ids=str
)
def test_a_door_of_another_width_is_named(door: str, shape: tuple[int, ...]) -> None:
    wrong = shape[1 if door == "image" else -1]
    with pytest.raises(InputError, match=rf"told {DOORS[door]} numbers through `{door}`, and was told {wrong} numbers"):
        small(**DOORS)(drawn(2, 3, 8, 8), torch.tensor([1.0, 2.0]), **{**told(), door: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("multipliers", "size", "nearest"),
    [((1, 2), (9, 8), "8×8"), ((1, 2, 2), (30, 45), "32×44"), ((1, 2, 2, 2), (1, 28), "8×32"), ((1, 1), (3, 3), "4×4")],
)
def test_a_size_that_does_not_fit_names_the_nearest_that_does(
    multipliers: tuple[int, ...], size: tuple[int, int], nearest: str
) -> None:
    network = meta(width=16, multipliers=multipliers)
    width, height = size
    fits = 2 ** (len(multipliers) - 1)
    said = rf"a picture of {width}×{height} does not fit .* must be a multiple of {fits}; the nearest .* is {nearest}$"
    with pytest.raises(ShapeError, match=said):
        network(torch.zeros(1, 3, height, width, device="meta"), torch.zeros(1, device="meta"))


def test_with_patches_a_size_must_fit_those_too() -> None:
    network = meta(**SMALL, patch=4)
    assert network.multiple == 8
    with pytest.raises(ShapeError, match="must be a multiple of 8; the nearest that fits is 16×24$"):
        network.check_size(26, 17)
    network.check_size(24, 16)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"width": 0}, "width must be from 1 to 8,192, not 0"),
        ({"width": 10**9}, "width must be from 1 to 8,192, not 1,000,000,000"),
        ({"in_channels": 0}, "in_channels must be from 1 to 4,096, not 0"),
        ({"out_channels": -1}, "out_channels must be from 1 to 4,096, not -1"),
        ({"blocks": 0}, "blocks must be from 1 to [0-9]+, not 0"),
        ({"multipliers": ()}, r"multipliers must be 1 to [0-9]+ numbers from 1 to 64, not \[\]"),
        ({"multipliers": (1, 0)}, r"multipliers must be 1 to [0-9]+ numbers from 1 to 64, not \[1, 0\]"),
        ({"multipliers": (1,) * 13}, "multipliers must be 1 to [0-9]+ numbers"),
        ({"width": 40, "multipliers": (1, 1.3, 1.31)}, "multipliers give level 2 52.4 channels: no whole number"),
        ({"width": 40, "groups": 16}, "groups must divide the channels of every level, and 16 do not 40"),
        ({"groups": 0}, "groups must divide the channels of every level, and 0 do not"),
        ({"eps": 0.0}, "eps must be above 0 and below 1, not 0.0"),
        ({"frequency_shift": math.nan}, "frequency_shift must be nearer to 0 than 10,000, not nan"),
        ({"heads": (8, 8)}, r"heads must be a number from 1 to 1,024 for each of 4 levels, not \[8, 8\]"),
        ({"depth": (1, 1, 0, 1)}, r"depth must be a number .* 4 levels, not \[1, 1, 0, 1\]"),
        ({"heads": (1, 7, 1, 1)}, "7 heads do not divide the 256 channels of level 1"),
        ({"heads": (1,) * 4, "head_width": 64}, "either head_width or heads says how attention is split, not both"),
        ({"depth": (1,) * 4, "bottom": "bare attention"}, "bottom must be 'attention', 'residual' or 'none'"),
        ({"multipliers": (1, 2), "attention": (2,)}, "attention names level 2, but the levels are 0 to 1"),
        ({"multipliers": (1, 2), "attention": (-1,)}, "attention names level -1, but the levels are 0 to 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, not -0.1"),
        ({"width": 40, "head_width": 64}, "head_width 64 does not divide the 80 channels of level"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        meta(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"vector": -1}, {"tokens": -1}, {"image": -3}, {"head_width": -8}],
)
def test_every_argument_that_cannot_be_is_an_input_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        meta(**arguments)


@each
def test_bfloat16_is_near_float32(kind: str) -> None:
    network = small(kind, **DOORS)
    x, t, doors = drawn(2, 3, 8, 8), torch.tensor([10.0, 700.0]), told()
    with torch.no_grad():
        wanted = network(x, t, **doors)
        found = network.bfloat16()(x.bfloat16(), t, **doors)
    assert found.dtype == torch.bfloat16
    assert gap(found.float(), wanted) < 0.05 * wanted.abs().max()


def test_time_reaches_a_bfloat16_network_in_full() -> None:
    """Times near 1000 that bfloat16 cannot tell apart."""
    network = small().bfloat16()
    x = drawn(1, 3, 8, 8).bfloat16()
    with torch.no_grad():
        assert gap(network(x, torch.tensor([997.0])), network(x, torch.tensor([998.0]))) > 0


def test_dropout_acts_in_training_only() -> None:
    network = small(dropout=0.5)
    x, t = drawn(1, 3, 8, 8), torch.tensor([10.0])
    with torch.no_grad():
        assert torch.equal(network(x, t), network(x, t))
        network.train()
        assert not torch.equal(network(x, t), network(x, t))


def test_heads_divide_the_channels_they_are_given() -> None:
    network = meta(width=32, multipliers=(1, 2), attention=(0, 1), head_width=16)
    heads = {name: stage.heads for name, stage in network.named_modules() if name.endswith("to_self")}
    assert heads["down.0.to_self"] == 2 and heads["middle.0.to_self"] == 4
    assert all(stage.heads == 1 for name, stage in meta(**SMALL).named_modules() if name.endswith("to_self"))


def test_the_middle_attends_once_and_levels_only_where_told() -> None:
    names = [name for name, _ in meta(**{**SMALL, "attention": ()}).named_modules() if name.endswith("to_self")]
    assert names == ["middle.0.to_self"]


def test_time_scale_multiplies_time() -> None:
    x = drawn(1, 3, 8, 8)
    with torch.no_grad():
        assert gap(small(time_scale=1000.0)(x, torch.tensor([0.25])), small()(x, torch.tensor([250.0]))) < 1e-6


def copied(ours: UNet, theirs: nn.Module) -> None:
    """Give diffusers' UNet2DModel our weights."""

    def copy(to: nn.Module, module: nn.Module) -> None:
        to.load_state_dict(module.state_dict())

    def copy_stage(block: nn.Module, i: int, stage: Stage) -> None:
        resnet, residual = block.resnets[i], stage.residual
        names = {"norm1": "norm1", "conv1": "conv1", "time_emb_proj": "embed", "norm2": "norm2", "conv2": "conv2"}
        for name, own in names.items() | ({("conv_shortcut", "skip")} if resnet.conv_shortcut else set()):
            copy(getattr(resnet, name), getattr(residual, own))
        if stage.to_self is not None:
            attention, own = block.attentions[i], stage.to_self
            copy(attention.group_norm, own.norm)
            copy(attention.to_q, own.query)
            copy(attention.to_out[0], own.out)
            for part, to in enumerate((attention.to_k, attention.to_v)):
                to.weight.copy_(own.key_value.weight.chunk(2)[part])
                to.bias.copy_(own.key_value.bias.chunk(2)[part])

    with torch.no_grad():
        copy(theirs.conv_in, ours.enter)
        copy(theirs.time_embedding.linear_1, ours.time.enter)
        copy(theirs.time_embedding.linear_2, ours.time.leave)
        for blocks, stages in ((theirs.down_blocks, iter(ours.down)), (theirs.up_blocks, iter(ours.up))):
            for block in blocks:
                for i in range(len(block.resnets)):
                    copy_stage(block, i, next(stages))
                for resize in getattr(block, "downsamplers", None) or getattr(block, "upsamplers", None) or []:
                    copy(resize.conv, next(stages).change.conv)
        for i, stage in enumerate(ours.middle):
            copy_stage(theirs.mid_block, i, stage)
        copy(theirs.conv_norm_out, ours.leave[0])
        copy(theirs.conv_out, ours.leave[2])


def test_diffusers_answers_alike_with_the_same_weights() -> None:
    diffusers = pytest.importorskip("diffusers")
    ours = small(width=128)  # from 128 channels on a norm has 32 groups, as theirs
    theirs = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(128, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=None,
        flip_sin_to_cos=False,
        freq_shift=1,
    ).eval()
    copied(ours, theirs)
    x, t = drawn(2, 3, 8, 8), torch.tensor([10, 700])
    with torch.no_grad():
        wanted = theirs(x, t).sample
        assert wanted.std() > 0.05
        assert gap(ours(x, t), wanted) < 1e-4 * wanted.abs().max()
