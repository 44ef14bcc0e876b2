"""U-Nets of diffusers: the same numbers from the same weights, both ways, and what is refused."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato.errors import FormatError, InputError
from sfumato.interop.diffusers.networks.unet import read_unet_config, sample_size, unet_entries, write_unet_config
from sfumato.keys import fill, write_state
from sfumato.nn.embedding import sinusoidal
from sfumato.nn.image.unet import UNet
from sfumato.parts import NETWORKS

diffusers = pytest.importorskip("diffusers")

PLAIN = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
CONDITIONED = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
DDPM: dict[str, Any] = {
    **PLAIN,
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": None,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "downsample_padding": 0,
    "norm_eps": 1e-6,
}
ADM: dict[str, Any] = {
    **DDPM,
    "out_channels": 6,
    "attention_head_dim": 8,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "resnet_time_scale_shift": "scale_shift",
    "attn_norm_num_groups": 8,
    "num_class_embeds": 10,
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
}
SD1: dict[str, Any] = {
    **CONDITIONED,
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
}
SD2: dict[str, Any] = {**SD1, "use_linear_projection": True, "attention_head_dim": (2, 4), "upcast_attention": True}
SDXL: dict[str, Any] = {
    **SD2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (16, 32, 64),
    "attention_head_dim": (1, 2, 4),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 2, 3),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 20 + 6 * 8,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "ddpm": DDPM,
    "latent diffusion": {**DDPM, "flip_sin_to_cos": True, "freq_shift": 0, "downsample_padding": 1}
    | {"block_out_channels": (32, 48), "attention_head_dim": 16, "layers_per_block": 2},
    "super-resolution": {**DDPM, "in_channels": 6, "out_channels": 3},
    "bottom without attention": {**DDPM, "add_attention": False},
    "no bottom": {**DDPM, "mid_block_type": None},
    "adm": ADM,
    "adm, attention without a norm": {**ADM, "attn_norm_num_groups": None, "num_class_embeds": None},
    "stable diffusion 1": SD1,
    "inpainting": {**SD1, "in_channels": 9},
    "distilled, no bottom": {**SD1, "layers_per_block": 1, "mid_block_type": None},
    "stable diffusion 2": SD2,
    "upscaler": {**SD2, "in_channels": 7, "num_class_embeds": 7},
    "sdxl": SDXL,
    "refiner": {**SDXL, "transformer_layers_per_block": 2, "projection_class_embeddings_input_dim": 20 + 5 * 8}
    | {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")}
    | {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")},
}
SET_OTHERWISE = ("attn_norm_num_groups", "upcast_attention")
"""The first is null for "as many as all", which we say; the second is about half precision, and not kept."""
each = pytest.mark.parametrize("family", FAMILIES)


def theirs(options: dict[str, Any]) -> Any:
    """Their small network with every weight drawn, none left at zero or one."""
    torch.manual_seed(0)
    kind = diffusers.UNet2DConditionModel if "cross_attention_dim" in options else diffusers.UNet2DModel
    network = kind(**options).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:
                parameter.normal_(mean=float("norm" in name and name.endswith("weight")), std=0.2)
    return network


def config_of(network: Any) -> dict[str, Any]:
    """The configuration as they would write it."""
    return json.loads(network.to_json_string())


def opened(network: Any) -> UNet:
    """Their network as ours."""
    with torch.device("meta"):
        unet = read_unet_config(config_of(network), "unet")
    fill(unet, unet_entries(unet), network.state_dict(), "unet")
    return unet.eval()


def called(options: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any], dict[str, Tensor]]:
    """The inputs of both: a sample and its time, then the conditioning inputs of theirs and of ours."""
    draw = torch.Generator().manual_seed(1)
    channels = options.get("in_channels", 4 if "cross_attention_dim" in options else 3)
    inside = min(channels, options.get("out_channels", 4 if "cross_attention_dim" in options else 3))
    x = torch.randn(2, channels, 16, 8, generator=draw)
    inputs: dict[str, Any] = {}
    given: dict[str, Tensor] = {}
    if channels > inside:
        given["concat"] = x[:, inside:]
    if "cross_attention_dim" in options:
        inputs["encoder_hidden_states"] = given["context"] = torch.randn(2, 5, 24, generator=draw)
    if classes := options.get("num_class_embeds"):
        inputs["class_labels"] = torch.tensor([0, classes - 1])
        given["vector"] = nn.functional.one_hot(inputs["class_labels"], classes)
    if wide := options.get("projection_class_embeddings_input_dim"):
        pooled, sizes = (
            torch.randn(2, 20, generator=draw),
            torch.randint(0, 1024, (2, (wide - 20) // 8), generator=draw),
        )
        inputs["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": sizes}
        waves = sinusoidal(sizes.flatten(), 8, cosine_first=True, frequency_shift=0)
        given["vector"] = torch.cat([pooled, waves.reshape(2, -1)], dim=1)
    return x, torch.tensor([3, 981]), inputs, given


@each
@torch.no_grad()
def test_the_same_weights_give_the_same_numbers(family: str) -> None:
    network = theirs(FAMILIES[family])
    x, t, inputs, given = called(FAMILIES[family])
    wanted = network(x, t, **inputs).sample
    found = opened(network)(x[:, : x.shape[1] - given.get("concat", x[:, :0]).shape[1]], t, **given)
    assert wanted.std() > 0.1 and (network(x, t + 9, **inputs).sample - wanted).abs().max() > 1e-2
    assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(13, 7), (9, 10)])
@pytest.mark.parametrize("family", [name for name, config in FAMILIES.items() if "cross_attention_dim" in config])
@torch.no_grad()
def test_odd_sizes_give_the_same_numbers(family: str, size: tuple[int, int]) -> None:
    network = theirs(FAMILIES[family])
    x, t, inputs, given = called(FAMILIES[family])
    x = nn.functional.interpolate(x, size)
    given |= {"concat": x[:, -given["concat"].shape[1] :]} if "concat" in given else {}
    wanted = network(x, t, **inputs).sample
    found = opened(network)(x[:, : x.shape[1] - given.get("concat", x[:, :0]).shape[1]], t, **given)
    assert found.shape[2:] == size and wanted.std() > 0.1
    assert (found - wanted).abs().max() < 1e-5


@each
def test_what_is_written_is_what_was_read(family: str) -> None:
    network = theirs(FAMILIES[family])
    unet = opened(network)
    written = write_unet_config(unet, 16, FAMILIES[family].get("addition_time_embed_dim", 256))
    assert written["_class_name"] == type(network).__name__
    again = type(network)(**{key: value for key, value in written.items() if key != "_class_name"})
    again.load_state_dict(dict(write_state(unet, unet_entries(unet))))
    for (name, one), other in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    config = {key: value for key, value in config_of(network).items() if not key.startswith("_")}
    for key, value in config_of(again).items():
        if key in config and key not in SET_OTHERWISE:
            assert _spread(value) == _spread(config[key]), key
    with torch.device("meta"):
        assert NETWORKS.dump(read_unet_config(written, "unet")) == NETWORKS.dump(unet)


def _spread(value: Any) -> Any:
    """A list of equal numbers and the number alone are the same."""
    return value[0] if isinstance(value, list) and len(set(value)) == 1 else value


def test_weights_by_their_names_of_before_are_read() -> None:
    network = theirs(DDPM)
    older: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        for now, before in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            name = name.replace(f".{now}.", f".{before}.")
        older[name] = tensor
    assert older.keys() != network.state_dict().keys()
    with torch.device("meta"):
        unet = read_unet_config(config_of(network), "unet")
    fill(unet, unet_entries(unet), older, "unet")
    for one, other in zip(unet.state_dict().values(), opened(network).state_dict().values(), strict=True):
        assert torch.equal(one, other)


# Published networks ---------------------------------------------------------------------------------------------------

PUBLISHED: dict[str, tuple[int | None, dict[str, Any]]] = {
    "google/ddpm-cifar10-32": (
        35_746_307,
        {
            "_class_name": "UNet2DModel",
            "_diffusers_version": "0.0.4",
            "act_fn": "silu",
            "attention_head_dim": None,
            "block_out_channels": [128, 256, 256, 256],
            "center_input_sample": False,
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
            "downsample_padding": 0,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            "in_channels": 3,
            "layers_per_block": 2,
            "mid_block_scale_factor": 1,
            "norm_eps": 1e-06,
            "norm_num_groups": 32,
            "out_channels": 3,
            "sample_size": 32,
            "time_embedding_type": "positional",
            "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        },
    ),
    "google/ddpm-celebahq-256": (
        113_673_219,
        {
            "_class_name": "UNet2DModel",
            "act_fn": "silu",
            "attention_head_dim": None,
            "block_out_channels": [128, 128, 256, 256, 512, 512],
            "center_input_sample": False,
            "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
            "downsample_padding": 0,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            "in_channels": 3,
            "layers_per_block": 2,
            "mid_block_scale_factor": 1,
            "norm_eps": 1e-06,
            "norm_num_groups": 32,
            "out_channels": 3,
            "sample_size": 256,
            "time_embedding_type": "positional",
            "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
        },
    ),
    "stable-diffusion-v1-5": (
        859_520_964,
        {
            "_class_name": "UNet2DConditionModel",
            "_diffusers_version": "0.6.0",
            "act_fn": "silu",
            "attention_head_dim": 8,
            "block_out_channels": [320, 640, 1280, 1280],
            "center_input_sample": False,
            "cross_attention_dim": 768,
            "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
            "downsample_padding": 1,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
            "in_channels": 4,
            "layers_per_block": 2,
            "mid_block_scale_factor": 1,
            "norm_eps": 1e-05,
            "norm_num_groups": 32,
            "out_channels": 4,
            "sample_size": 64,
            "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
        },
    ),
    "stable-diffusion-2-1": (
        865_910_724,
        {
            "_class_name": "UNet2DConditionModel",
            "_diffusers_version": "0.10.0.dev0",
            "act_fn": "silu",
            "attention_head_dim": [5, 10, 20, 20],
            "block_out_channels": [320, 640, 1280, 1280],
            "center_input_sample": False,
            "cross_attention_dim": 1024,
            "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
            "downsample_padding": 1,
            "dual_cross_attention": False,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
            "in_channels": 4,
            "layers_per_block": 2,
            "mid_block_scale_factor": 1,
            "norm_eps": 1e-05,
            "norm_num_groups": 32,
            "num_class_embeds": None,
            "only_cross_attention": False,
            "out_channels": 4,
            "sample_size": 96,
            "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
            "use_linear_projection": True,
            "upcast_attention": True,
        },
    ),
    "stable-diffusion-xl-base-1.0": (
        2_567_463_684,
        {
            "_class_name": "UNet2DConditionModel",
            "_diffusers_version": "0.19.0.dev0",
            "act_fn": "silu",
            "addition_embed_type": "text_time",
            "addition_embed_type_num_heads": 64,
            "addition_time_embed_dim": 256,
            "attention_head_dim": [5, 10, 20],
            "block_out_channels": [320, 640, 1280],
            "center_input_sample": False,
            "class_embed_type": None,
            "class_embeddings_concat": False,
            "conv_in_kernel": 3,
            "conv_out_kernel": 3,
            "cross_attention_dim": 2048,
            "cross_attention_norm": None,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "downsample_padding": 1,
            "dual_cross_attention": False,
            "encoder_hid_dim": None,
            "encoder_hid_dim_type": None,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
            "in_channels": 4,
            "layers_per_block": 2,
            "mid_block_only_cross_attention": None,
            "mid_block_scale_factor": 1,
            "mid_block_type": "UNetMidBlock2DCrossAttn",
            "norm_eps": 1e-05,
            "norm_num_groups": 32,
            "num_attention_heads": None,
            "num_class_embeds": None,
            "only_cross_attention": False,
            "out_channels": 4,
            "projection_class_embeddings_input_dim": 2816,
            "resnet_out_scale_factor": 1.0,
            "resnet_skip_time_act": False,
            "resnet_time_scale_shift": "default",
            "sample_size": 128,
            "time_cond_proj_dim": None,
            "time_embedding_act_fn": None,
            "time_embedding_dim": None,
            "time_embedding_type": "positional",
            "timestep_post_act": None,
            "transformer_layers_per_block": [1, 2, 10],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "upcast_attention": None,
            "use_linear_projection": True,
        },
    ),
    "stable-diffusion-xl-refiner-1.0": (
        None,  # its number of parameters was not published to the last one
        {
            "_class_name": "UNet2DConditionModel",
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "attention_head_dim": [6, 12, 24, 24],
            "block_out_channels": [384, 768, 1536, 1536],
            "cross_attention_dim": 1280,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            "in_channels": 4,
            "layers_per_block": 2,
            "out_channels": 4,
            "projection_class_embeddings_input_dim": 2560,
            "sample_size": 128,
            "transformer_layers_per_block": 4,
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "upcast_attention": None,
            "use_linear_projection": True,
        },
    ),
}
published = pytest.mark.parametrize("model", PUBLISHED)


@published
def test_published_networks_have_their_names_and_shapes(model: str) -> None:
    count, config = PUBLISHED[model]
    with torch.device("meta"):
        unet = read_unet_config(config, model)
        kind = getattr(diffusers, config["_class_name"])
        network = kind(**{key: value for key, value in config.items() if not key.startswith("_")})
    assert sum(parameter.numel() for parameter in unet.parameters()) == (count or network.num_parameters())
    found = {name: tensor.shape for name, tensor in write_state(unet, unet_entries(unet))}
    assert found == {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert {entry.ours for entry in unet_entries(unet)} == unet.state_dict().keys()


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (
            DDPM,
            {"_class_name": "UNet3DModel"},
            "there is no _class_name 'UNet3DModel' here; did you mean 'UNet2DModel'",
        ),
        (DDPM, {"act_fn": "gelu"}, "'act_fn': input should be 'silu' or 'swish', not 'gelu'"),
        (DDPM, {"norm_group": 8}, "there is no setting 'norm_group'; did you mean 'norm_num_groups'"),
        (
            DDPM,
            {"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]},
            "down_block_types.0.*'DownBlock2D'.*not 'Skip",
        ),
        (
            DDPM,
            {"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]},
            "should be of the same levels, with attention in",
        ),
        (DDPM, {"block_out_channels": [32, 64, 64]}, "should be of the same levels"),
        (DDPM, {"downsample_type": "resnet", **CONDITIONED}, "down_block_types"),
        (DDPM, {"upsample_type": "resnet"}, "all by convolutions or all by residual blocks"),
        (DDPM, {"attn_norm_num_groups": 4}, "attn_norm_num_groups should be norm_num_groups, 8, or null, not 4"),
        (DDPM, {"norm_num_groups": 5}, "groups must divide the channels of every level, and 5 do not"),
        (DDPM, {"attention_head_dim": 48}, "head_width 48 does not divide the 64 channels"),
        (DDPM, {"time_embedding_dim": 64}, "time_embedding_dim should be 4 times the first of block_out_channels, 32"),
        (DDPM, {"center_input_sample": True}, "center_input_sample"),
        (DDPM, {"in_channels": "three"}, "in_channels"),
        (SD1, {"block_out_channels": []}, "block_out_channels"),
        (SD1, {"block_out_channels": [32, 0]}, "block_out_channels should be at least 1"),
        (SD1, {"block_out_channels": [97, 64]}, "multipliers must be 1 to 10 whole numbers from 1 to 64"),
        (SD1, {"only_cross_attention": True}, "only_cross_attention"),
        (SD1, {"encoder_hid_dim": 768}, "encoder_hid_dim"),
        (SD1, {"time_cond_proj_dim": 256}, "time_cond_proj_dim"),
        (SD1, {"class_embed_type": "projection"}, "class_embed_type"),
        (SD1, {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "mid_block_type.*'UNetMidBlock2DCrossAttn'"),
        (SD1, {"layers_per_block": [1, 2]}, "layers_per_block should be the same for all levels"),
        (SD1, {"mid_block_scale_factor": 1.4}, "mid_block_scale_factor"),
        (SD1, {"attention_head_dim": [4, 4, 4]}, "heads must be a number from 1 to 1,024 for each of 2 levels"),
        (SDXL, {"num_class_embeds": 3}, "and no num_class_embeds"),
        (SDXL, {"addition_time_embed_dim": None}, "addition_embed_type 'text_time' needs addition_time_embed_dim"),
    ],
)
def test_what_we_have_not_is_refused_by_name(base: dict[str, Any], options: dict[str, Any], message: str) -> None:
    kind = "UNet2DConditionModel" if "cross_attention_dim" in base else "UNet2DModel"
    with pytest.raises(FormatError, match=f"^the unet: .*{message}"), torch.device("meta"):
        read_unet_config({"_class_name": kind, **base, **options}, "the unet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch": 2}, "no U-Net with patches of 2"),
        ({"stem": 64}, "a stem of 64 channels before a level of 128"),
        ({"multipliers": (2, 4)}, "a stem of 128 channels before a level of 256"),
        ({"time_scale": 1000.0}, "no U-Net with a time_scale of 1000"),
        ({"context": 5}, "context and no depth"),
        ({"bottom": "bare attention"}, "no scale_shift"),
        ({"depth": (1, 1), "context": 5, "bottom": "residual"}, "context and a bottom of residual blocks alone"),
        ({"depth": (1, 1), "context": 5, "resample": "residual"}, "context and residual resampling"),
        ({"vector": 3, "vector_mlp": True}, "a vector_mlp and no context"),
        ({"concat": 3, "onto_concat": True}, "onto_concat"),
        (
            {"width": 24, "multipliers": (1, 2)},
            r"one number of groups for all norms, and this one has \[6, 12, 18, 24\]",
        ),
        ({"attention": (0, 1), "heads": (2, 2)}, r"heads of one width, and this network of \[64, 128\]"),
    ],
)
def test_what_they_have_not_is_not_written(arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"):
        unet = UNet(**{"width": 128, "multipliers": (1, 2), "blocks": 1, "attention": (1,), **arguments})
    with pytest.raises(InputError, match=message):
        write_unet_config(unet)


def test_the_default_network_can_be_written() -> None:
    """It has 32 groups everywhere without being inputs."""
    with torch.device("meta"):
        unet = UNet()
        written = write_unet_config(unet)
        again = read_unet_config(written, "unet")
    assert written["norm_num_groups"] == 32 and written["attention_head_dim"] is None
    assert [tensor.shape for tensor in again.parameters()] == [tensor.shape for tensor in unet.parameters()]


def test_weights_that_are_missing_or_too_many_are_named() -> None:
    network = theirs(DDPM)
    unet, weights = opened(network), network.state_dict()
    with pytest.raises(FormatError, match="'conv_in.bias' missing"):
        fill(unet, unet_entries(unet), {name: weights[name] for name in weights if name != "conv_in.bias"}, "unet")
    with pytest.raises(FormatError, match="holds 'add_embedding.linear_1.weight'"):
        fill(unet, unet_entries(unet), {**weights, "add_embedding.linear_1.weight": weights["conv_in.bias"]}, "unet")


@pytest.mark.parametrize(("given", "size"), [(64, 64), ([64, 96], (64, 96)), (None, None)])
def test_the_size_of_samples(given: Any, size: Any) -> None:
    assert sample_size({"sample_size": given}) == size


@pytest.mark.parametrize("given", ["64", 0, [64], [1, -1], True])
def test_a_size_that_is_none(given: Any) -> None:
    with pytest.raises(FormatError, match="sample_size should be a side or a height and a width"):
        sample_size({"sample_size": given})
