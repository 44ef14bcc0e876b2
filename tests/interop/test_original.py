"""Names of the original layout, beside diffusers' own conversion."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.interop.single_file.original import original_autoencoder_name, original_unet_name

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
    names = {name: original_unet_name(name, settings["layers_per_block"], attended) for name in theirs}
    assert len(set(names.values())) == len(names)
    original = {f"model.diffusion_model.{names[name]}": value for name, value in theirs.items()}
    config: dict[str, Any] = {"class_embed_type": None, "addition_embed_type": None, **settings}
    converted = utils().convert_ldm_unet_checkpoint(dict(original), config)
    assert converted.keys() == theirs.keys()
    assert all(converted[name] is theirs[name] for name in theirs)


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
        original[f"first_stage_model.{original_autoencoder_name(name, 3)}"] = (
            value[..., None, None] if attends else value
        )
    converted = utils().convert_ldm_vae_checkpoint(dict(original), settings)
    assert converted.keys() == theirs.keys()
    assert all(torch.equal(converted[name], theirs[name]) for name in theirs)
