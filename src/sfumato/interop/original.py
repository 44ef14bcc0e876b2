"""The names of weights in the original layout of Stable Diffusion's single files, from those that diffusers gives."""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

from sfumato.errors import FormatError

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
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
AUTOENCODER = {"conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut"}
AUTOENCODER_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet(name: str, blocks: int, attended: tuple[bool, ...]) -> str:
    """The original name of a weight of the U-Net, which has `blocks` residual blocks a level; `attended` says of each
    level on the way up whether there is attention."""
    for theirs, original in UNET.items():
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
    return f"{place}.{RESNET[layer]}.{kind}" if resnet else name


def autoencoder(name: str, levels: int) -> str:
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
        layer = AUTOENCODER_ATTENTION.get(attention[2], attention[2])
        return f"{attention[1]}mid.attn_1.{layer}.{attention[3]}"
    for theirs, original in AUTOENCODER.items():
        name = name.replace(f".{theirs}.", f".{original}.")
    return name


OPEN_CLIP_LAYERS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
OPEN_CLIP = {
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}


class Renamed(Mapping[str, Tensor]):
    """The tensors of `weights` whose names begin with `prefix`, each under the name that `names` gives it: from
    diffusers' name to the original. What no name speaks of keeps its own."""

    def __init__(self, weights: Mapping[str, Tensor], prefix: str, names: Mapping[str, str]) -> None:
        self._weights = weights
        inside = {key.removeprefix(prefix): key for key in weights if key.startswith(prefix)}
        self._places = {name: inside.pop(original) for name, original in names.items() if original in inside}
        self._places |= inside

    def __getitem__(self, key: str) -> Tensor:
        return self._weights[self._places[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class OpenCLIP(Mapping[str, Tensor]):
    """A text tower of open_clip below `prefix`, under the names of transformers' `CLIPTextModelWithProjection`.

    Its blocks keep query, key and value in one matrix, and the projection is the transpose of theirs. The blocks from
    `layers` on, which Stable Diffusion 2 does not use, are left out.
    """

    def __init__(self, weights: Mapping[str, Tensor], prefix: str, layers: int, projects: bool) -> None:
        self._weights = weights
        self._places: dict[str, tuple[str, int | None]] = {}
        for key in weights:
            if key.startswith(prefix):
                self._place(key, key.removeprefix(prefix), layers, projects)

    def _place(self, key: str, name: str, layers: int, projects: bool) -> None:
        if name in OPEN_CLIP:
            self._places[OPEN_CLIP[name]] = key, None
        elif name == "text_projection":
            if projects:
                self._places["text_projection.weight"] = key, None
        elif (block := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.*?)[._](weight|bias)", name)) is not None:
            if int(block[1]) >= layers:
                return
            place = f"text_model.encoder.layers.{block[1]}"
            if block[2] == "attn.in_proj":
                for part, letter in enumerate("qkv"):
                    self._places[f"{place}.self_attn.{letter}_proj.{block[3]}"] = key, part
            else:
                self._places[f"{place}.{OPEN_CLIP_LAYERS.get(block[2], block[2])}.{block[3]}"] = key, None
        elif name != "logit_scale":
            raise FormatError(f"'{key}' is no weight of a text tower of open_clip that Sfumato knows")

    def __getitem__(self, key: str) -> Tensor:
        place, part = self._places[key]
        tensor = self._weights[place]
        if part is not None:
            return tensor.chunk(3)[part]
        return tensor.T if key == "text_projection.weight" else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
