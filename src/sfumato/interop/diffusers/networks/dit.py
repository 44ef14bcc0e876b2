"""Diffusion transformers of diffusers: `DiTTransformer2DModel`, read and written."""

from collections.abc import Mapping
from typing import Any, Literal

from sfumato.errors import FormatError, InputError, quoted
from sfumato.interop.options import ConfigOptions, as_format_errors, class_name, read_options
from sfumato.keys import Entry, joined, layer, repeated, reshaped, transposed
from sfumato.nn.dit_nd import FREQUENCY_WIDTH
from sfumato.nn.image.dit import DiT

_CLASSES = ("DiTTransformer2DModel", "Transformer2DModel")
"""The second is what DiT's own checkpoints were written as, in which the first was one kind among others."""
_FIXED = {
    "modulation": "block",
    "qk_norm": False,
    "null": True,
    "context": 0,
    "concat": 0,
    "time_scale": 1.0,
    "mlp": 4.0,
    "frequency_shift": 1.0,  # unlike the code released with DiT
}
"""Arguments that every DiT of diffusers has."""


class _DiT(ConfigOptions):
    num_attention_heads: int = 16
    attention_head_dim: int = 72
    in_channels: int = 4
    out_channels: int | None = None
    num_layers: int = 28
    dropout: float = 0.0
    attention_bias: Literal[True] = True
    sample_size: int = 32
    patch_size: int = 2
    activation_fn: Literal["gelu-approximate"] = "gelu-approximate"
    num_embeds_ada_norm: int = 1000
    norm_type: Literal["ada_norm_zero"] = "ada_norm_zero"
    norm_elementwise_affine: Literal[False] = False
    norm_eps: float = 1e-5
    # of no effect on the arithmetic
    norm_num_groups: int = 32
    upcast_attention: bool = False
    # of Transformer2DModel, and of other kinds than DiT
    cross_attention_dim: None = None
    num_vector_embeds: None = None
    only_cross_attention: Literal[False] = False
    double_self_attention: Literal[False] = False
    use_linear_projection: bool = False
    attention_type: Literal["default"] = "default"
    caption_channels: None = None
    interpolation_scale: float | None = None
    use_additional_conditions: bool | None = None


def read_dit_config(config: Mapping[str, Any], name: str) -> DiT:
    """The network that a configuration describes, on the current device. Raises `FormatError` about `name`."""
    if class_name(config, _CLASSES, name) == _CLASSES[1] and "norm_type" not in config:
        raise FormatError(
            f"{name}: a {_CLASSES[1]} without norm_type is none of DiT's: known is norm_type ada_norm_zero"
        )
    options = read_options(_DiT, config, name)
    return as_format_errors(name, lambda: _network(options))


def _network(options: _DiT) -> DiT:
    if options.patch_size < 1:
        raise InputError(f"patch_size must be at least 1, not {options.patch_size}")
    if options.interpolation_scale not in (None, 1.0):
        raise InputError(f"interpolation_scale must be 1, not {options.interpolation_scale}")
    return DiT(
        in_channels=options.in_channels,
        out_channels=options.in_channels if options.out_channels is None else options.out_channels,
        width=options.num_attention_heads * options.attention_head_dim,
        depth=options.num_layers,
        head_width=options.attention_head_dim,
        patch=options.patch_size,
        dropout=options.dropout,
        vector=options.num_embeds_ada_norm,
        modulation="block",
        qk_norm=False,
        null=True,
        base_size=options.sample_size // options.patch_size,
        mlp_eps=options.norm_eps,
        frequency_shift=1.0,
    )


def write_dit_config(network: DiT) -> dict[str, Any]:
    """The configuration that diffusers' class is built from. Raises `InputError` for a DiT that it cannot express."""
    for argument, value in _FIXED.items():
        if (found := getattr(network, argument)) != value:
            raise InputError(
                f"diffusers has no DiT with {argument} {found}: only one with {argument} {value} is written"
            )
    if network.base_size is None or not network.vector:
        raise InputError("diffusers has no DiT without base_size or without classes: only one with both is written")
    return {
        "_class_name": "DiTTransformer2DModel",
        "num_attention_heads": network.width // network.head_width,
        "attention_head_dim": network.head_width,
        "in_channels": network.in_channels,
        "out_channels": network.out_channels,
        "num_layers": network.depth,
        "dropout": network.dropout,
        "attention_bias": True,
        "sample_size": network.base_size * network.patch,
        "patch_size": network.patch,
        "activation_fn": "gelu-approximate",
        "num_embeds_ada_norm": network.vector,
        "norm_type": "ada_norm_zero",
        "norm_elementwise_affine": False,
        "norm_eps": network.mlp_eps,
    }


def read_class_names(index: Mapping[str, Any], count: int, name: str) -> tuple[str, ...]:
    """The names of `count` classes, by the `id2label` of a `model_index.json`: each the words for it, with commas
    between, or its number where it has none."""
    labels = index.get("id2label") or {}
    if not isinstance(labels, Mapping) or not all(isinstance(words, str) for words in labels.values()):
        raise FormatError(f"{name}: id2label should be a table from the numbers of classes to words")
    known = {str(number) for number in range(count)}
    if unknown := sorted(set(labels) - known):
        raise FormatError(f"{name}: id2label names class {quoted(unknown[0])}, and there are 0 to {count - 1}")
    return tuple(labels.get(str(number), str(number)) for number in range(count))


# Names ----------------------------------------------------------------------------------------------------------------


def dit_entries(network: DiT) -> list[Entry]:
    """Where the network's weights are in a file of diffusers.

    There each block holds the layers of time and class again, equal to those of the first (as in the code released with
    DiT, which has one of each).
    """
    width, p = network.width, network.patch
    layers = [f"transformer_blocks.{nth}.norm1.emb" for nth in range(network.depth)]
    time = f"{layers[0]}.timestep_embedder"
    once = [
        _cosines_first("time.enter.weight", f"{time}.linear_1.weight"),
        layer("time.enter", f"{time}.linear_1")[1],
        *layer("time.leave", f"{time}.linear_2"),
        transposed("project.weight", f"{layers[0]}.class_embedder.embedding_table.weight"),
    ]
    return [
        *(repeated(one, [one.theirs[0].replace(layers[0], again) for again in layers[1:]]) for one in once),
        reshaped("enter.weight", "pos_embed.proj.weight", (width, -1), (width, -1, p, p)),
        layer("enter", "pos_embed.proj")[1],
        *(entry for nth in range(network.depth) for entry in _block(f"blocks.{nth}", f"transformer_blocks.{nth}")),
        *layer("modulate_last", "proj_out_1"),
        *(_channels_last(network, kind) for kind in ("weight", "bias")),
    ]


def _block(ours: str, theirs: str) -> list[Entry]:
    return [
        *layer(f"{ours}.modulate", f"{theirs}.norm1.linear"),
        *layer(f"{ours}.to_self.query", f"{theirs}.attn1.to_q"),
        *joined(f"{ours}.to_self.key_value", [f"{theirs}.attn1.to_k", f"{theirs}.attn1.to_v"]),
        *layer(f"{ours}.to_self.out", f"{theirs}.attn1.to_out.0"),
        *layer(f"{ours}.widen", f"{theirs}.ff.net.0.proj"),
        *layer(f"{ours}.narrow", f"{theirs}.ff.net.2"),
    ]


def _cosines_first(ours: str, theirs: str) -> Entry:
    """The layer over the sinusoids of time: ours has the sines first, theirs the cosines."""
    return Entry(
        ours,
        (theirs,),
        # torch's own roll of tensors without numbers imports its compiler first, which takes a second
        lambda tensors: tensors[0] if tensors[0].is_meta else tensors[0].roll(FREQUENCY_WIDTH // 2, dims=1),
        lambda tensor: [tensor.roll(FREQUENCY_WIDTH // 2, dims=1)],
    )


def _channels_last(network: DiT, kind: str) -> Entry:
    """The last layer, whose outputs are the elements of a patch: ours channel by channel, theirs pixel by pixel."""
    c, p = network.out_channels, network.patch
    return Entry(
        f"leave.{kind}",
        (f"proj_out_2.{kind}",),
        lambda tensors: tensors[0].unflatten(0, (p * p, c)).transpose(0, 1).flatten(0, 1),
        lambda tensor: [tensor.unflatten(0, (c, p * p)).transpose(0, 1).flatten(0, 1)],
    )
