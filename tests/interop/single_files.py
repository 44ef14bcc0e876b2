"""Pipelines of diffusers as single files in the original layout, and files of full size that take up no space."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sfumato.interop.single_file.original import original_autoencoder_name, original_unet_name

SIZES = {"F16": 2, "F32": 4, "I64": 8}
OPEN_CLIP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
LAYERS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def named(model: Any) -> dict[str, Tensor]:
    """The weights of a text tower of transformers, by the names that it had when files were published."""
    state = {name: value for name, value in model.state_dict().items() if "position_ids" not in name}
    return {name if name.startswith("text_") else f"text_model.{name}": value for name, value in state.items()}


def open_clip(model: Any) -> dict[str, Tensor]:
    """The weights of a text tower of transformers in the layout of open_clip."""
    theirs = named(model)
    found: dict[str, Tensor] = {"logit_scale": torch.ones(())}
    for name, value in theirs.items():
        if name in OPEN_CLIP:
            found[OPEN_CLIP[name]] = value
        elif name == "text_projection.weight":
            found["text_projection"] = value.T
        elif "q_proj" in name:
            parts = [theirs[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            number, kind = name.split(".")[3], name.rpartition(".")[2]
            found[f"transformer.resblocks.{number}.attn.in_proj_{kind}"] = torch.cat(parts)
        elif "k_proj" not in name and "v_proj" not in name:
            number, kind = name.split(".")[3], name.rpartition(".")[2]
            layer = name.split(".", 4)[4].rpartition(".")[0]
            found[f"transformer.resblocks.{number}.{LAYERS[layer]}.{kind}"] = value
    return found


def towers(pipe: Any, second: bool) -> dict[str, Tensor]:
    """The text encoders; `second` is Stable Diffusion 2, whose file has a block and a projection that nothing uses."""
    one, two = pipe.text_encoder, getattr(pipe, "text_encoder_2", None)
    if two is not None:
        place = f"conditioner.embedders.{int(one is not None)}.model."
        found = {f"{place}{name}": value for name, value in open_clip(two).items()}
        plain = {} if one is None else {f"conditioner.embedders.0.transformer.{k}": v for k, v in named(one).items()}
        return found | plain
    if not second:
        return {f"cond_stage_model.transformer.{name}": value for name, value in named(one).items()}
    found = open_clip(one)
    last = {k.replace("resblocks.1", "resblocks.2"): v + 1 for k, v in found.items() if "resblocks.1" in k}
    width = one.config.hidden_size
    return {f"cond_stage_model.model.{k}": v for k, v in {**found, **last, "text_projection": torch.eye(width)}.items()}


def tensors(pipe: Any, second: bool = False) -> dict[str, Tensor]:
    """All weights of a pipeline of Stable Diffusion by their original names."""
    unet = pipe.unet
    attended = tuple(kind.startswith("CrossAttn") for kind in unet.config.up_block_types)
    found = {
        f"model.diffusion_model.{original_unet_name(name, unet.config.layers_per_block, attended)}": value
        for name, value in unet.state_dict().items()
    }
    for name, value in pipe.vae.state_dict().items():
        attends = "attentions" in name and "group_norm" not in name and value.ndim == 2
        place = f"first_stage_model.{original_autoencoder_name(name, len(pipe.vae.config.block_out_channels))}"
        found[place] = value[..., None, None] if attends else value
    return found | towers(pipe, second)


def written(path: Path, weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: value.clone().contiguous() for name, value in weights.items()}, path, metadata)
    return path


def sparse(path: Path, shapes: Mapping[str, tuple[str, list[int]]], metadata: dict[str, str] | None = None) -> Path:
    """A file of weights that are all zero, and that take up no space on the disk."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (kind, shape) in shapes.items():
        begin, end = end, end + SIZES[kind] * int(torch.Size(shape).numel())
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    data = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(data)) + data)
        file.truncate(8 + len(data) + end)
    return path
