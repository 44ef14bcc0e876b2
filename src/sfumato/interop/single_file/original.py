"""Names of weights in the original layout of Stable Diffusion's single files, from diffusers' names. Those of its text
encoders are in `condition/open_clip.py`."""

import re

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_AUTOENCODER = {"conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut"}
_AUTOENCODER_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_unet_name(name: str, blocks: int, attended: tuple[bool, ...]) -> str:
    """The original name of a weight of the U-Net, which has `blocks` residual blocks a level; `attended`: whether each
    level on the way up has attention."""
    for theirs, original in _UNET.items():
        if name.startswith(f"{theirs}."):
            return _renamed(original + name.removeprefix(theirs), "resnets" in theirs)
    place = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    if place is None:
        return name
    way, level, part, nth, rest = place[1], int(place[2]), place[3], int(place[4]), place[5]
    if way == "down":
        first = 1 + level * (blocks + 1)
        if part == "downsamplers":
            return f"input_blocks.{first + blocks}.0.op.{rest.removeprefix('conv.')}"
        return _renamed(f"input_blocks.{first + nth}.{int(part == 'attentions')}.{rest}", part == "resnets")
    first = level * (blocks + 1)
    if part == "upsamplers":
        return f"output_blocks.{first + blocks}.{1 + attended[level]}.{rest}"
    return _renamed(f"output_blocks.{first + nth}.{int(part == 'attentions')}.{rest}", part == "resnets")


def _renamed(name: str, resnet: bool) -> str:
    """With the layer by its original name, in a residual block."""
    place, layer, kind = name.rsplit(".", 2)
    return f"{place}.{_RESNET[layer]}.{kind}" if resnet else name


def original_autoencoder_name(name: str, levels: int) -> str:
    """The original name of a weight of the autoencoder, which has so many levels."""

    def level(match: re.Match[str]) -> str:
        way, number = match[1], int(match[2])
        if way == "up":
            number = levels - 1 - number  # they count levels on the way up from the largest
        return f"{way}.{number}."

    name = re.sub(r"(down|up)_blocks\.(\d+)\.", level, name)
    name = re.sub(r"\.resnets\.(\d+)\.", r".block.\1.", name)
    name = re.sub(r"\.(down|up)samplers\.0\.", r".\1sample.", name)
    name = re.sub(r"mid_block\.block\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    if (attention := re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.*)\.(weight|bias)", name)) is not None:
        layer = _AUTOENCODER_ATTENTION.get(attention[2], attention[2])
        return f"{attention[1]}mid.attn_1.{layer}.{attention[3]}"
    for theirs, original in _AUTOENCODER.items():
        name = name.replace(f".{theirs}.", f".{original}.")
    return name
