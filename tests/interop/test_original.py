"""Names of the original layout, beside diffusers' own conversion."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.errors import FormatError
from sfumato.interop.original import OPEN_CLIP, OPEN_CLIP_LAYERS, OpenCLIP, Renamed, autoencoder, unet

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, with numpy 2


def utils() -> Any:
    from diffusers.loaders import single_file_utils

    return single_file_utils


SMALL: dict[str, Any] = {
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
}
XL: dict[str, Any] = {
    **SMALL,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}


@pytest.mark.parametrize("settings", [SMALL, XL], ids=["1", "xl"])
def test_the_u_net(settings: dict[str, Any]) -> None:
    theirs: dict[str, Tensor] = diffusers.UNet2DConditionModel(**settings).state_dict()
    attended = tuple(kind.startswith("CrossAttn") for kind in settings["up_block_types"])
    names = {name: unet(name, settings["layers_per_block"], attended) for name in theirs}
    assert len(set(names.values())) == len(names)
    original = {f"model.diffusion_model.{names[name]}": value for name, value in theirs.items()}
    config: dict[str, Any] = {"class_embed_type": None, "addition_embed_type": None, **settings}
    converted = utils().convert_ldm_unet_checkpoint(dict(original), config)
    assert converted.keys() == theirs.keys()
    assert all(converted[name] is theirs[name] for name in theirs)
    ours = Renamed({**original, "model.diffusion_model.extra": torch.zeros(1)}, "model.diffusion_model.", names)
    assert {name for name in ours} == {*theirs, "extra"}
    assert all(ours[name] is theirs[name] for name in theirs)


def test_the_autoencoder() -> None:
    settings: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (32, 32, 64),
        "layers_per_block": 2,
    }
    theirs: dict[str, Tensor] = diffusers.AutoencoderKL(**settings).state_dict()
    original = {}
    for name, value in theirs.items():
        attends = "attentions" in name and "group_norm" not in name and value.ndim == 2
        original[f"first_stage_model.{autoencoder(name, 3)}"] = value[..., None, None] if attends else value
    converted = utils().convert_ldm_vae_checkpoint(dict(original), settings)
    assert converted.keys() == theirs.keys()
    assert all(torch.equal(converted[name], theirs[name]) for name in theirs)


def open_clip(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state of transformers' tower in the layout of open_clip."""
    found: dict[str, Tensor] = {"logit_scale": torch.ones(())}
    back = {value: key for key, value in OPEN_CLIP.items()}
    layers = {value: key for key, value in OPEN_CLIP_LAYERS.items()}
    for name, value in theirs.items():
        if name in back:
            found[back[name]] = value
        elif name == "text_projection.weight":
            found["text_projection"] = value.T
        elif "q_proj" in name:
            parts = [theirs[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            number, kind = name.split(".")[3], name.rpartition(".")[2]
            found[f"transformer.resblocks.{number}.attn.in_proj_{kind}"] = torch.cat(parts)
        elif "k_proj" not in name and "v_proj" not in name:
            number, kind = name.split(".")[3], name.rpartition(".")[2]
            layer = name.split(".", 4)[4].rpartition(".")[0]
            found[f"transformer.resblocks.{number}.{layers[layer]}.{kind}"] = value
    return found


def test_a_tower_of_open_clip() -> None:
    config = transformers.CLIPTextConfig(
        vocab_size=20,
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=6,
    )
    model = transformers.CLIPTextModelWithProjection(config)
    theirs = {name: value for name, value in model.state_dict().items() if "position_ids" not in name}
    original = {f"model.{name}": value for name, value in open_clip(theirs).items()}
    ours = OpenCLIP({**original, "other": torch.zeros(1)}, "model.", 3, projects=True)
    assert {name for name in ours} == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    converted = utils().convert_open_clip_checkpoint(model, dict(original), prefix="model.")
    assert all(torch.equal(converted[name], ours[name]) for name in ours)


def test_blocks_that_are_not_used_are_left_out() -> None:
    weights = {f"transformer.resblocks.{n}.ln_1.weight": torch.ones(2) for n in range(3)}
    assert len(OpenCLIP(weights, "", 2, projects=False)) == 2
    with pytest.raises(FormatError, match="'visual.proj' is no weight"):
        OpenCLIP({"visual.proj": torch.ones(1)}, "", 2, projects=False)
