"""The options of diffusers' U-Nets, as arguments of our `UNet`."""

from collections.abc import Mapping, Sequence
from math import gcd
from typing import Any, Literal

from pydantic import Field

from sfumato.errors import InputError, quoted
from sfumato.interop.options import ConfigOptions

RESAMPLES: dict[str, Literal["plain", "residual"]] = {"conv": "plain", "resnet": "residual"}
"""How sizes change, by their word for it."""


class _Common(ConfigOptions):
    """Options of both classes."""

    sample_size: int | tuple[int, int] | None = None
    in_channels: int
    out_channels: int
    block_out_channels: tuple[int, ...] = Field(min_length=1)
    center_input_sample: Literal[False] = False
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0
    downsample_padding: Literal[0, 1] = 1
    mid_block_scale_factor: float = Field(1.0, ge=1.0, le=1.0)
    dropout: float = 0.0
    act_fn: Literal["silu", "swish"] = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    time_embedding_type: Literal["positional"] = "positional"
    time_embedding_dim: int | None = None
    class_embed_type: None = None
    num_class_embeds: int | None = None

    def arguments(self) -> dict[str, Any]:
        """The arguments that follow alike from both."""
        first = self.block_out_channels[0]
        if min(self.block_out_channels) < 1:
            raise InputError(f"block_out_channels should be at least 1, not {quoted(list(self.block_out_channels))}")
        if self.time_embedding_dim not in (None, 4 * first):
            raise InputError(
                f"time_embedding_dim should be 4 times the first of block_out_channels, {first}, or null, not"
                f" {self.time_embedding_dim}"
            )
        return {
            "in_channels": min(self.in_channels, self.out_channels),
            "concat": max(self.in_channels - self.out_channels, 0),
            "out_channels": self.out_channels,
            **_widths(self.block_out_channels),
            "dropout": self.dropout,
            "scale_shift": self.resnet_time_scale_shift == "scale_shift",
            "padding": "both" if self.downsample_padding else "end",
            "groups": self.norm_num_groups,
            "eps": self.norm_eps,
            "cosine_first": self.flip_sin_to_cos,
            "frequency_shift": self.freq_shift,
        }


class UNet2DModelOptions(_Common):
    """`UNet2DModel`: plain attention."""

    in_channels: int = 3
    out_channels: int = 3
    block_out_channels: tuple[int, ...] = Field((224, 448, 672, 896), min_length=1)
    layers_per_block: int = 2
    down_block_types: tuple[Literal["DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"], ...] = (
        "DownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
    )
    mid_block_type: Literal["UNetMidBlock2D"] | None = "UNetMidBlock2D"
    up_block_types: tuple[Literal["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"], ...] = (
        "AttnUpBlock2D",
        "AttnUpBlock2D",
        "AttnUpBlock2D",
        "UpBlock2D",
    )
    downsample_type: Literal["conv", "resnet"] = "conv"
    upsample_type: Literal["conv", "resnet"] = "conv"
    attention_head_dim: int | None = 8
    attn_norm_num_groups: int | None = None
    add_attention: bool = True
    num_train_timesteps: int | None = None  # the size of a table of learned times, of which we have none

    def arguments(self) -> dict[str, Any]:
        resized = {"AttnDownBlock2D": self.downsample_type, "AttnUpBlock2D": self.upsample_type}
        return super().arguments() | {
            **_levels(self.block_out_channels, self.down_block_types, self.up_block_types, resized),
            "blocks": self.layers_per_block,
            "head_width": self.attention_head_dim,
            "bottom": self._bottom(),
            "vector": self.num_class_embeds or 0,
        }

    def _bottom(self) -> str:
        if self.mid_block_type is None:
            return "none"
        if not self.add_attention:
            return "residual"
        if self.attn_norm_num_groups is None and self.resnet_time_scale_shift == "scale_shift":
            return "bare attention"  # so do they, whether or not it was meant
        if self.attn_norm_num_groups not in (None, self.norm_num_groups):
            raise InputError(
                f"attn_norm_num_groups should be norm_num_groups, {self.norm_num_groups}, or null, not"
                f" {self.attn_norm_num_groups}"
            )
        return "attention"


class UNet2DConditionOptions(_Common):
    """`UNet2DConditionModel`: spatial transformers, which attend to tokens. Of the options that must be null or false,
    each is a branch of the network that no Stable Diffusion has."""

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = Field((320, 640, 1280, 1280), min_length=1)
    layers_per_block: int | tuple[int, ...] = 2
    down_block_types: tuple[Literal["DownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"], ...] = (
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "DownBlock2D",
    )
    mid_block_type: Literal["UNetMidBlock2DCrossAttn"] | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[Literal["UpBlock2D", "CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"], ...] = (
        "UpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
    )
    attention_head_dim: int | tuple[int, ...] = 8
    transformer_layers_per_block: int | tuple[int, ...] = 1
    cross_attention_dim: int | tuple[int, ...] = 1280
    use_linear_projection: bool = False
    addition_embed_type: Literal["text_time"] | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None
    upcast_attention: bool | None = False  # for half precision: the arithmetic is the same
    addition_embed_type_num_heads: int = 64  # of an addition_embed_type that we have not
    num_attention_heads: None = None
    only_cross_attention: Literal[False] = False
    mid_block_only_cross_attention: Literal[False] | None = None
    dual_cross_attention: Literal[False] = False
    cross_attention_norm: None = None
    attention_type: Literal["default"] = "default"
    reverse_transformer_layers_per_block: None = None
    encoder_hid_dim: None = None
    encoder_hid_dim_type: None = None
    time_cond_proj_dim: None = None
    time_embedding_act_fn: None = None
    timestep_post_act: None = None
    resnet_skip_time_act: Literal[False] = False
    resnet_out_scale_factor: float = Field(1.0, ge=1.0, le=1.0)
    class_embeddings_concat: Literal[False] = False
    conv_in_kernel: Literal[3] = 3
    conv_out_kernel: Literal[3] = 3

    def arguments(self) -> dict[str, Any]:
        levels = len(self.block_out_channels)
        return super().arguments() | {
            **_levels(self.block_out_channels, self.down_block_types, self.up_block_types, {}),
            "blocks": _one("layers_per_block", self.layers_per_block),
            "heads": _each(self.attention_head_dim, levels),  # heads they are, in spite of the name
            "depth": _each(self.transformer_layers_per_block, levels),
            "context": _one("cross_attention_dim", self.cross_attention_dim),
            "projection": "linear" if self.use_linear_projection else "convolution",
            "bottom": "attention" if self.mid_block_type else "none",
            **self._vector(),
        }

    def _vector(self) -> dict[str, Any]:
        if self.addition_embed_type is None:
            return {"vector": self.num_class_embeds or 0}
        if self.num_class_embeds or not (self.addition_time_embed_dim and self.projection_class_embeddings_input_dim):
            raise InputError(
                "addition_embed_type 'text_time' needs addition_time_embed_dim and"
                " projection_class_embeddings_input_dim, and no num_class_embeds"
            )
        return {"vector": self.projection_class_embeddings_input_dim, "vector_mlp": True}


def _widths(channels: Sequence[int]) -> dict[str, Any]:
    """The channels of each level as multiples of the first or, where they are not, of what divides them all."""
    width = gcd(*channels) if any(number % channels[0] for number in channels) else channels[0]
    return {
        "width": width,
        "multipliers": tuple(number // width for number in channels),
        "stem": None if width == channels[0] else channels[0],
    }


def _each(value: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """A number for each level."""
    return (value,) * levels if isinstance(value, int) else tuple(value)


def _one(option: str, value: int | Sequence[int]) -> int:
    """The number that is the same for each level."""
    numbers = {value} if isinstance(value, int) else set(value)
    if len(numbers) != 1:
        raise InputError(f"{option} should be the same for all levels, not {quoted(value)}")
    return numbers.pop()


def _levels(
    channels: Sequence[int], downs: Sequence[str], ups: Sequence[str], resized: Mapping[str, str]
) -> dict[str, Any]:
    """Which levels attend, and how sizes change: by convolutions or by residual blocks, as `resized` has it for some
    kinds of block. The lowest level on the way down and the highest on the way up change none."""
    attends = [["Attn" in kind for kind in kinds] for kinds in (downs, ups[::-1])]
    if not len(channels) == len(downs) == len(ups) or attends[0] != attends[1]:
        raise InputError(
            "down_block_types, up_block_types and block_out_channels should be of the same levels, with attention in"
            f" the same, and are {quoted(list(downs))}, {quoted(list(ups))} and {quoted(list(channels))}"
        )
    ways = {resized.get(kind, "resnet" if "Resnet" in kind else "conv") for kind in (*downs[:-1], *ups[:-1])}
    if len(ways) > 1:
        raise InputError(
            "sizes should change all by convolutions or all by residual blocks (Resnet…Block2D, and downsample_type and"
            f" upsample_type 'resnet' where there is attention), and {quoted(list(downs))} and"
            f" {quoted(list(ups))} do both"
        )
    return {
        "attention": tuple(level for level, attend in enumerate(attends[0]) if attend),
        "resample": RESAMPLES[ways.pop() if ways else "conv"],
    }
