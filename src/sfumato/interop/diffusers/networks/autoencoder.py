"""Autoencoders of diffusers: `AutoencoderKL` and `VQModel`, read and written as codecs."""

from collections.abc import Mapping
from math import gcd
from typing import Any, Literal

from sfumato.codec import Latent
from sfumato.errors import InputError, quoted
from sfumato.interop.diffusers.networks.blocks import attention_entries, residual_entries
from sfumato.interop.options import ConfigOptions, as_format_errors, class_name, read_options
from sfumato.keys import Entry, layer, same
from sfumato.nn.attention import Attention
from sfumato.nn.blocks import Residual
from sfumato.nn.image.autoencoder import Autoencoder, ConvolutionalAutoencoder, KLAutoencoder, VQAutoencoder

_CLASSES = ("AutoencoderKL", "VQModel")
_DOWN = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D")
_UP = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")
"""A level, without attention and with it."""


class _Common(ConfigOptions):
    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[Literal["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], ...] = (_DOWN[0],)
    up_block_types: tuple[Literal["UpDecoderBlock2D", "AttnUpDecoderBlock2D"], ...] = (_UP[0],)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: Literal["silu", "swish"] = "silu"
    norm_num_groups: int = 32
    mid_block_add_attention: bool = True
    scaling_factor: float = 0.18215
    # of these the first is about tiles and the second about half precision, of which we have none
    sample_size: int | tuple[int, int] = 32
    force_upcast: bool = True

    def arguments(self) -> dict[str, Any]:
        """The arguments of every autoencoder of ours."""
        attend = tuple(level for level, kind in enumerate(self.down_block_types) if kind == _DOWN[1])
        mirrored = tuple(_UP[level in attend] for level in reversed(range(len(self.down_block_types))))
        if not len(self.block_out_channels) == len(self.down_block_types) or self.up_block_types != mirrored:
            raise InputError(
                f"down_block_types, up_block_types and block_out_channels should be of the same levels, and are"
                f" {quoted(list(self.down_block_types))}, {quoted(list(self.up_block_types))} and"
                f" {quoted(list(self.block_out_channels))}"
            )
        if self.in_channels != self.out_channels:
            raise InputError(
                f"in_channels and out_channels are one number, not {self.in_channels}, {self.out_channels}"
            )
        width = max(gcd(*self.block_out_channels), 1)
        return {
            "in_channels": self.in_channels,
            "width": width,
            "multipliers": tuple(channels // width for channels in self.block_out_channels),
            "blocks": self.layers_per_block,
            "attention": self.mid_block_add_attention,
            "groups": self.norm_num_groups,
            "attend": attend,
        }


class _KL(_Common):
    latent_channels: int = 4
    shift_factor: float | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True


class _VQ(_Common):
    latent_channels: int = 3
    num_vq_embeddings: int = 256
    vq_embed_dim: int | None = None
    norm_type: Literal["group"] = "group"
    lookup_from_codebook: bool = False  # whether their `decode` may be given numbers: our `look_up` always may


def read_autoencoder_config(config: Mapping[str, Any], name: str) -> Latent:
    """The codec that a configuration describes, on the current device. Raises `FormatError` about `name`.

    Latents are `(z − shift_factor)·scaling_factor` or, by channel, `(z − latents_mean)·scaling_factor/latents_std`.
    """
    if class_name(config, _CLASSES, name) == "VQModel":
        vq = read_options(_VQ, config, name)
        return as_format_errors(name, lambda: Latent(_vq(vq), scale=(vq.scaling_factor,)))
    kl = read_options(_KL, config, name)
    return as_format_errors(name, lambda: _kl(kl))


def _kl(options: _KL) -> Latent:
    network = KLAutoencoder(
        latent=options.latent_channels,
        quant=options.use_quant_conv,
        post_quant=options.use_post_quant_conv,
        **options.arguments(),
    )
    if options.latents_mean is None and options.latents_std is None:
        return Latent(network, (options.shift_factor or 0.0,), (options.scaling_factor,))
    if (
        options.latents_mean is None
        or options.latents_std is None
        or options.shift_factor
        or not all(options.latents_std)
    ):
        raise InputError("latents_mean and latents_std belong together, above 0, and take the place of shift_factor")
    return Latent(network, options.latents_mean, tuple(options.scaling_factor / std for std in options.latents_std))


def _vq(options: _VQ) -> VQAutoencoder:
    latent = options.vq_embed_dim or options.latent_channels
    hidden = None if latent == options.latent_channels else options.latent_channels
    return VQAutoencoder(latent=latent, codes=options.num_vq_embeddings, hidden=hidden, **options.arguments())


def write_autoencoder_config(codec: Latent, sample_size: int = 512) -> dict[str, Any]:
    """The configuration that their class is built from. `sample_size` is the largest side of a picture that diffusers
    decodes in one piece, where it decodes in tiles.

    Raises `InputError` for an autoencoder that their classes cannot express: one with `patch`, or without `groups`
    where the norms of its levels differ in how many they have.
    """
    network = _known(codec)
    if network.patch != 1:
        raise InputError(
            f"diffusers has no autoencoder with patches of {network.patch}: only one of patch=1 is written"
        )
    levels = range(len(network.multipliers))
    common = {
        "in_channels": network.in_channels,
        "out_channels": network.in_channels,
        "down_block_types": [_DOWN[level in network.attend] for level in levels],
        "up_block_types": [_UP[level in network.attend] for level in reversed(levels)],
        "block_out_channels": [network.width * multiplier for multiplier in network.multipliers],
        "layers_per_block": network.blocks,
        "act_fn": "silu",
        "norm_num_groups": _groups(network),
        "mid_block_add_attention": network.attention,
        "sample_size": sample_size,
    }
    if isinstance(network, KLAutoencoder):
        own = {
            "_class_name": "AutoencoderKL",
            "latent_channels": network.latent,
            "use_quant_conv": network.quant,
            "use_post_quant_conv": network.post_quant,
            **_shift_and_scale(codec),
        }
    elif isinstance(network, VQAutoencoder):
        if any(codec.shift) or len(codec.scale) != 1:
            raise InputError("a VQModel of diffusers has no shift, and one scale for all channels")
        own = {
            "_class_name": "VQModel",
            "latent_channels": network.hidden or network.latent,
            "num_vq_embeddings": network.codes,
            "vq_embed_dim": network.latent,
            "norm_type": "group",
            "scaling_factor": codec.scale[0],
        }
    else:
        raise _unknown(network)
    return own | common


def _shift_and_scale(codec: Latent) -> dict[str, Any]:
    """How latents are shifted and scaled, for all channels or for each."""
    if len(codec.shift) == len(codec.scale) == 1:
        return {"scaling_factor": codec.scale[0], "shift_factor": codec.shift[0] or None}
    channels = codec.channels
    shift, scale = ((values * channels)[:channels] for values in (codec.shift, codec.scale))
    return {"scaling_factor": 1.0, "latents_mean": list(shift), "latents_std": [1 / value for value in scale]}


def _known(codec: Latent) -> ConvolutionalAutoencoder:
    """The codec's autoencoder, if it is of a kind that diffusers has."""
    if not isinstance(codec.network, ConvolutionalAutoencoder):
        raise _unknown(codec.network)
    return codec.network


def _unknown(network: Autoencoder) -> InputError:
    return InputError(f"diffusers has no {type(network).__name__}: known are a KLAutoencoder and a VQAutoencoder")


def _groups(network: ConvolutionalAutoencoder) -> int:
    """How many groups its norms have, which are one number in diffusers."""
    found = {part.norm1.num_groups for part in network.modules() if isinstance(part, Residual)}
    found |= {part.norm2.num_groups for part in network.modules() if isinstance(part, Residual)}
    if len(found) > 1:
        raise InputError(f"diffusers' autoencoders have one number of groups for all norms, and this one has {found}")
    return found.pop()


# Names ----------------------------------------------------------------------------------------------------------------


def autoencoder_entries(codec: Latent) -> list[Entry]:
    """Where the codec's weights are in a file of diffusers, also in one that its older versions wrote."""
    network = _known(codec)
    found = [
        *layer("network.encoder.enter", "encoder.conv_in"),
        *layer("network.encoder.leave.0", "encoder.conv_norm_out"),
        *layer("network.encoder.leave.2", "encoder.conv_out"),
        *layer("network.decoder.enter", "decoder.conv_in"),
        *layer("network.decoder.leave.0", "decoder.conv_norm_out"),
        *layer("network.decoder.leave.2", "decoder.conv_out"),
    ]
    levels = list(range(len(network.multipliers)))
    encoder = [*_level_names(network, levels, "down", network.blocks), *_middle_names(network)]
    decoder = [*_middle_names(network), *_level_names(network, levels[::-1], "up", network.blocks + 1)]
    for part, names in (("encoder", encoder), ("decoder", decoder)):
        stages = network.get_submodule(part).get_submodule("stages")
        for (ours, stage), theirs in zip(stages.named_children(), names, strict=True):
            found += _stage(f"network.{part}.stages.{ours}", f"{part}.{theirs}", stage)
    if isinstance(network, VQAutoencoder):
        found += layer("network.to_codes", "quant_conv")
        found.append(same("network.book", "quantize.embedding.weight"))
    elif isinstance(network, KLAutoencoder) and network.quant:
        found += layer("network.to_moments", "quant_conv")
    if not isinstance(network, KLAutoencoder) or network.post_quant:
        found += layer("network.from_latent", "post_quant_conv")
    return found


def _level_names(network: ConvolutionalAutoencoder, levels: list[int], way: str, blocks: int) -> list[str]:
    """Their names of the stages of all levels, in the order that they are gone through."""
    names: list[str] = []
    for nth, level in enumerate(levels):
        if way == "down" and nth > 0:
            names.append(f"down_blocks.{nth - 1}.downsamplers.0")
        for block in range(blocks):
            names.append(f"{way}_blocks.{nth}.resnets.{block}")
            names += [f"{way}_blocks.{nth}.attentions.{block}"] * (level in network.attend)
        if way == "up" and level > 0:
            names.append(f"up_blocks.{nth}.upsamplers.0")
    return names


def _middle_names(network: ConvolutionalAutoencoder) -> list[str]:
    attention = ["mid_block.attentions.0"] if network.attention else []
    return ["mid_block.resnets.0", *attention, "mid_block.resnets.1"]


def _stage(ours: str, theirs: str, stage: Any) -> list[Entry]:
    """The entries of one stage: a residual block, attention, or a change of size."""
    if isinstance(stage, Attention):
        return attention_entries(stage, ours, theirs)
    if isinstance(stage, Residual):
        return residual_entries(stage, ours, theirs)
    return layer(f"{ours}.conv", f"{theirs}.conv")
