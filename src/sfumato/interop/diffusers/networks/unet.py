"""U-Nets of diffusers: `UNet2DModel` and `UNet2DConditionModel`, read and written as our one `UNet`."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from sfumato.errors import FormatError, InputError, quoted
from sfumato.interop.diffusers.networks.blocks import attention_entries, residual_entries
from sfumato.interop.diffusers.networks.unet_options import RESAMPLES, UNet2DConditionOptions, UNet2DModelOptions
from sfumato.interop.options import as_format_errors, class_name, read_options
from sfumato.keys import Entry, joined, layer, transposed
from sfumato.nn.blocks import Residual
from sfumato.nn.embedding import Perceptron
from sfumato.nn.image.unet import UNet
from sfumato.nn.spatial_transformer import SpatialTransformer
from sfumato.nn.unet_nd import Resize, Stage

_CLASSES = ("UNet2DModel", "UNet2DConditionModel")


def read_unet_config(config: Mapping[str, Any], name: str) -> UNet:
    """The network that a configuration describes, on the current device. Raises `FormatError` about `name`.

    Input channels beyond the output's are the conditioning input `concat`; classes, and the pooled text and sizes of
    SDXL side by side, are `vector`.
    """
    kind = class_name(config, _CLASSES, name)
    options = read_options(UNet2DModelOptions if kind == "UNet2DModel" else UNet2DConditionOptions, config, name)
    return as_format_errors(name, lambda: UNet(**options.arguments()))


def sample_size(config: Mapping[str, Any], name: str = "unet") -> int | tuple[int, int] | None:
    """The size of the samples of training, if the configuration has it: a side, or a height and width."""
    size = config.get("sample_size")
    if isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
        return size[0], size[1]
    if size is None or (type(size) is int and size > 0):
        return size
    raise FormatError(f"{name}: sample_size should be a side or a height and a width, not {quoted(size)}")


# Writing --------------------------------------------------------------------------------------------------------------


def write_unet_config(
    unet: UNet, sample_size: int | tuple[int, int] | None = None, addition_time_embed_dim: int = 256
) -> dict[str, Any]:
    """The configuration that their class is built from: `UNet2DConditionModel` with a context, else `UNet2DModel`.

    `addition_time_embed_dim` is how many sines and cosines SDXL writes a size in, which the network itself need not
    know. Raises `InputError` for a network that their classes cannot express.
    """
    _check_writable(unet)
    attended = "CrossAttn" if unet.context else "Attn"
    bare = ("DownBlock2D", "UpBlock2D")
    if unet.resample == "residual":
        bare = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
    kinds = [
        (f"{attended}DownBlock2D", f"{attended}UpBlock2D") if level in unet.attention else bare
        for level in range(len(unet.widths))
    ]
    shift = unet.frequency_shift
    common = {
        "_class_name": "UNet2DConditionModel" if unet.context else "UNet2DModel",
        "sample_size": sample_size,
        "in_channels": unet.in_channels + unet.concat,
        "out_channels": unet.out_channels,
        "block_out_channels": unet.widths,
        "layers_per_block": unet.blocks,
        "down_block_types": [down for down, _ in kinds],
        "up_block_types": [up for _, up in reversed(kinds)],
        "act_fn": "silu",
        "flip_sin_to_cos": unet.cosine_first,
        "freq_shift": int(shift) if shift == int(shift) else shift,
        "downsample_padding": 1 if unet.padding == "both" else 0,
        "dropout": unet.dropout,
        "norm_num_groups": _groups(unet),
        "norm_eps": unet.eps,
        "resnet_time_scale_shift": "scale_shift" if unet.scale_shift else "default",
        "num_class_embeds": unet.vector if unet.vector and not unet.vector_mlp else None,
    }
    return common | (_condition(unet, addition_time_embed_dim) if unet.context else _model(unet))


def _model(unet: UNet) -> dict[str, Any]:
    resample = next(word for word, way in RESAMPLES.items() if way == unet.resample)
    return {
        "mid_block_type": None if unet.bottom == "none" else "UNetMidBlock2D",
        "add_attention": unet.bottom != "residual",
        "attn_norm_num_groups": _groups(unet) if unet.bottom == "attention" else None,
        "attention_head_dim": _head_width(unet),
        "downsample_type": resample,
        "upsample_type": resample,
    }


def _condition(unet: UNet, addition_time_embed_dim: int) -> dict[str, Any]:
    levels = range(len(unet.widths))
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": addition_time_embed_dim,
        "projection_class_embeddings_input_dim": unet.vector,
    }
    return {
        "mid_block_type": None if unet.bottom == "none" else "UNetMidBlock2DCrossAttn",
        "attention_head_dim": _short([unet.head_count(level) for level in levels]),
        "transformer_layers_per_block": _short(list(unet.depth)),
        "cross_attention_dim": unet.context,
        "use_linear_projection": unet.projection == "linear",
        **(added if unet.vector_mlp and unet.vector else {}),
    }


def _short(numbers: list[int]) -> int | list[int]:
    """The number that all are, if they are."""
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _attended(unet: UNet) -> list[int]:
    """The levels whose heads count: those with attention, and the last where the bottom attends."""
    bottom = {len(unet.widths) - 1} if unet.bottom in ("attention", "bare attention") else set()
    return sorted({*unet.attention} | bottom)


def _head_width(unet: UNet) -> int | None:
    """The width of every head; None for one head everywhere."""
    counts = {unet.head_count(level) for level in _attended(unet)}
    widths = {unet.widths[level] // unet.head_count(level) for level in _attended(unet)}
    if counts <= {1}:
        return None
    if len(widths) > 1:
        raise InputError(f"a UNet2DModel of diffusers has heads of one width, and this network of {sorted(widths)}")
    return widths.pop()


def _groups(unet: UNet) -> int:
    """How many groups its norms have, which are one number in diffusers."""
    found = {part.num_groups for part in unet.modules() if isinstance(part, nn.GroupNorm)}
    if len(found) > 1:
        raise InputError(
            f"diffusers' U-Nets have one number of groups for all norms, and this one has {sorted(found)}: build it"
            " with groups"
        )
    return found.pop()


def _check_writable(unet: UNet) -> None:
    """Raise an `InputError` for what neither of their classes has."""
    context, bottom, stem = bool(unet.context), unet.bottom, unet.stem or unet.width
    wrong = {
        f"patches of {unet.patch}": unet.patch != 1,
        f"a time_scale of {unet.time_scale}": unet.time_scale != 1,
        "depth and no context, or context and no depth": context != bool(unet.depth),
        "bare attention at the bottom and no scale_shift": bottom == "bare attention" and not unet.scale_shift,
        "context and a bottom of residual blocks alone": context and bottom == "residual",
        f"a stem of {stem} channels before a level of {unet.widths[0]}": stem != unet.widths[0],
        "context and residual resampling": context and bool(unet.attention) and unet.resample == "residual",
        "a vector_mlp and no context": bool(unet.vector) and unet.vector_mlp and not context,
        "onto_concat": unet.onto_concat,
    }
    for what in (what for what, is_so in wrong.items() if is_so):
        raise InputError(f"diffusers has no U-Net with {what}")


# Names ----------------------------------------------------------------------------------------------------------------


def unet_entries(unet: UNet) -> list[Entry]:
    """Where the network's weights are in a file of diffusers, also in one that its older versions wrote. Raises
    `InputError` as `write_config` does."""
    _check_writable(unet)
    found = [
        *layer("enter", "conv_in"),
        *_perceptron("time", "time_embedding"),
        *layer("leave.0", "conv_norm_out"),
        *layer("leave.2", "conv_out"),
    ]
    if isinstance(unet.project, Perceptron):
        found += _perceptron("project", "add_embedding")
    elif unet.project is not None:
        found.append(transposed("project.weight", "class_embedding.weight"))
    for part, names in (
        ("down", _names(unet, "down")),
        ("middle", [f"mid_block.{{}}.{nth}" for nth in range(len(unet.middle))]),
        ("up", _names(unet, "up")),
    ):
        for (ours, stage), theirs in zip(unet.get_submodule(part).named_children(), names, strict=True):
            found += _stage(stage, f"{part}.{ours}", theirs)
    return found


def _names(unet: UNet, way: Literal["down", "up"]) -> list[str]:
    """Their names of the stages on one way, in order, with a place for the kind of layer."""
    names: list[str] = []
    for nth in range(len(unet.widths)):
        blocks = unet.blocks if way == "down" else unet.blocks + 1
        names += [f"{way}_blocks.{nth}.{{}}.{block}" for block in range(blocks)]
        names.append(f"{way}_blocks.{nth}.{way}samplers.0")
    return names[:-1]  # the last level changes no size


def _stage(stage: nn.Module, ours: str, theirs: str) -> list[Entry]:
    if isinstance(stage, Resize):
        if isinstance(stage.change, Residual):
            return residual_entries(stage.change, f"{ours}.change", theirs)
        return layer(f"{ours}.change.conv", f"{theirs}.conv")
    if not isinstance(stage, Stage):
        raise InputError(f"a U-Net is made of stages and changes of size, not of a {type(stage).__name__}")
    found = residual_entries(stage.residual, f"{ours}.residual", theirs.format("resnets"))
    if stage.to_self is not None:
        found += attention_entries(stage.to_self, f"{ours}.to_self", theirs.format("attentions"))
    if stage.transformer is not None:
        found += _transformer(stage.transformer, f"{ours}.transformer", theirs.format("attentions"))
    return found


def _transformer(transformer: SpatialTransformer, ours: str, theirs: str) -> list[Entry]:
    """A `Transformer2DModel` of the continuous kind, which attends to tokens."""
    found = [
        *layer(f"{ours}.norm", f"{theirs}.norm"),
        *layer(f"{ours}.enter", f"{theirs}.proj_in"),
        *layer(f"{ours}.leave", f"{theirs}.proj_out"),
    ]
    for nth in range(len(transformer.blocks)):
        own, other = f"{ours}.blocks.{nth}", f"{theirs}.transformer_blocks.{nth}"
        found += layer(f"{own}.norm1", f"{other}.norm1") + _headed(f"{own}.to_self", f"{other}.attn1")
        found += layer(f"{own}.norm_tokens", f"{other}.norm2") + _headed(f"{own}.to_tokens", f"{other}.attn2")
        found += layer(f"{own}.norm2", f"{other}.norm3")
        found += layer(f"{own}.widen", f"{other}.ff.net.0.proj") + layer(f"{own}.narrow", f"{other}.ff.net.2")
    return found


def _headed(ours: str, theirs: str) -> list[Entry]:
    return [
        *layer(f"{ours}.query", f"{theirs}.to_q", bias=False),
        *joined(f"{ours}.key_value", [f"{theirs}.to_k", f"{theirs}.to_v"], bias=False),
        *layer(f"{ours}.out", f"{theirs}.to_out.0"),
    ]


def _perceptron(ours: str, theirs: str) -> list[Entry]:
    """A `TimestepEmbedding`."""
    return [*layer(f"{ours}.enter", f"{theirs}.linear_1"), *layer(f"{ours}.leave", f"{theirs}.linear_2")]
