"""The U-Net: its size and shape, what its levels hear and attend to, what it refuses; the rest is in test_networks."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.unet import UNet
from sfumato.nn.unet_nd import Stage

SMALL: dict[str, Any] = {"width": 40, "multipliers": (1, 2), "blocks": 1, "attention": (1,)}
WIDTHS: dict[str, Any] = {"vector": 3, "context": 5, "concat": 2}
KINDS: dict[str, dict[str, Any]] = {
    "ddpm": {},
    "adm": {"scale_shift": True, "resample": "residual", "head_width": 8},
    "mixed": {"scale_shift": True, "attention": (0, 1), "head_width": 4, "blocks": 2},
    "patched": {"patch": 2},
    "latent": {"depth": (1, 2), "heads": (4, 2), "attention": (0, 1), "cosine_first": True, "vector_mlp": True},
    "converted": {"depth": (1, 1), "heads": (4, 2), "projection": "convolution", "padding": "end", "groups": 8},
    "bare": {"bottom": "bare attention", "scale_shift": True, "frequency_shift": 0.0, "stem": 24},
    "single": {"multipliers": (1,), "attention": ()},
}


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


def condition(b: int = 2, k: int = 4) -> dict[str, Tensor]:
    """A tensor for every input; the last two tokens are masked."""
    mask = torch.arange(k).expand(b, k) < k - 2
    return {"vector": drawn(b, 3, seed=1), "context": drawn(b, k, 5, seed=2), "mask": mask, "concat": drawn(b, 2, 8, 8)}


def gap(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


@pytest.mark.parametrize("padding", ["both", "end"])
@pytest.mark.parametrize("size", [(5, 7), (9, 4), (6, 13)])
def test_odd_sizes_are_halved_and_doubled_again(size: tuple[int, int], padding: str) -> None:
    network = small(multipliers=(1, 2, 2), padding=padding, attention=(0,))
    out = network(drawn(2, 3, *size), torch.tensor([3.0, 8.0]))
    assert out.shape == (2, 3, *size) and out.std((2, 3)).min() > 1e-3


def test_halved_without_a_border_nothing_would_be_left() -> None:
    network = small(multipliers=(1, 2, 2), padding="end")
    with pytest.raises(ShapeError, match="multiple of 1 and 4 or more; the nearest that fits is 4×9$"):
        network(torch.zeros(1, 3, 9, 3), torch.tensor([3.0]))


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


@pytest.mark.parametrize("width", [5, 7, 24, 40, 48])
def test_odd_widths(width: int) -> None:
    out = small(width=width)(drawn(1, 3, 8, 8), torch.tensor([3.0]))
    assert out.shape == (1, 3, 8, 8) and out.std() > 0


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 0}, "blocks must be from 1 to [0-9]+, not 0"),
        ({"multipliers": ()}, r"multipliers must be 1 to [0-9]+ whole numbers from 1 to 64, not \[\]"),
        ({"multipliers": (1, 0)}, r"multipliers must be 1 to [0-9]+ whole numbers from 1 to 64, not \[1, 0\]"),
        ({"multipliers": (1,) * 13}, "multipliers must be 1 to [0-9]+ whole numbers"),
        ({"stem": 0}, "stem must be from 1 to 8,192, not 0"),
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
        ({"width": 40, "head_width": 64}, "head_width 64 does not divide the 80 channels of level"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        meta(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"vector": -1}, {"context": -1}, {"concat": -3}, {"head_width": -8}],
)
def test_every_argument_that_cannot_be_is_an_input_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        meta(**arguments)


def test_heads_divide_the_channels_they_are_given() -> None:
    network = meta(width=32, multipliers=(1, 2), attention=(0, 1), head_width=16)
    heads = {name: stage.heads for name, stage in network.named_modules() if name.endswith("to_self")}
    assert heads["down.0.to_self"] == 2 and heads["middle.0.to_self"] == 4
    assert all(stage.heads == 1 for name, stage in meta(**SMALL).named_modules() if name.endswith("to_self"))


def test_the_middle_attends_once_and_levels_only_where_asked() -> None:
    names = [name for name, _ in meta(**{**SMALL, "attention": ()}).named_modules() if name.endswith("to_self")]
    assert names == ["middle.0.to_self"]


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


def test_what_comes_out_may_be_laid_onto_the_conditioning_image():
    plain, onto = (small(concat=3, onto_concat=chosen) for chosen in (False, True))
    x, time, image = drawn(2, 3, 8, 8), torch.tensor([0.2, 0.9]), drawn(2, 3, 8, 8, seed=1)
    assert torch.equal(onto(x, time, concat=image), plain(x, time, concat=image) + image)
    assert torch.equal(small(awake=False, concat=3, onto_concat=True)(x, time, concat=image), image), "at its start"
    with pytest.raises(InputError, match="onto_concat wants a concat of as many channels as come out, 3, not 2"):
        small(concat=2, onto_concat=True)
