"""Autoencoders of diffusers, opened and written: against their own classes, with weights drawn at random."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor, nn

from sfumato.codec import Latent
from sfumato.errors import FormatError, InputError
from sfumato.interop.diffusers.networks.autoencoder import (
    autoencoder_entries,
    read_autoencoder_config,
    write_autoencoder_config,
)
from sfumato.keys import fill, write_state
from sfumato.nn.image.autoencoder import KLAutoencoder, VQAutoencoder
from sfumato.nn.image.pca import PCA

SMALL: dict[str, Any] = {
    "block_out_channels": (16, 24),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
ATTENDED = {
    "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
    "up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
}
BARE = {"use_quant_conv": False, "use_post_quant_conv": False, "latent_channels": 16, "shift_factor": 0.06}
PUBLISHED: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "out_channels": 3,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
"""Stable Diffusion 1's."""
VQ: dict[str, Any] = {"num_vq_embeddings": 11, "scaling_factor": 0.5}
PARAMETERS = ("kind", "changes")
CASES: list[tuple[Any, dict[str, Any]]] = [
    (AutoencoderKL, {}),
    (AutoencoderKL, {"mid_block_add_attention": False, "layers_per_block": 2, "in_channels": 1, "out_channels": 1}),
    (AutoencoderKL, BARE),
    (AutoencoderKL, ATTENDED),
    (AutoencoderKL, {"latents_mean": [0.1, -0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 4.0, 0.5]}),
    (VQModel, VQ),
    (VQModel, VQ | ATTENDED | {"vq_embed_dim": 2}),
]


def theirs(kind: Any, changes: dict[str, Any]) -> Any:
    """A small model of theirs with every weight drawn."""
    torch.manual_seed(0)
    model = kind(**{**SMALL, **changes}).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3 if parameter.ndim == 1 else 1.2 / parameter[0].numel() ** 0.5)
    return model


def opened(model: nn.Module, state: dict[str, Tensor] | None = None, **changes: Any) -> Latent:
    """A model of theirs as a codec of ours."""
    config: Any = dict(model.config)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with torch.device("meta"):
        codec = read_autoencoder_config({**config, "_class_name": type(model).__name__, **changes}, "vae")
    fill(codec, autoencoder_entries(codec), model.state_dict() if state is None else state, "vae")
    return codec.eval()


@torch.no_grad()
@pytest.mark.parametrize(PARAMETERS, CASES)
def test_pictures_and_latents_are_theirs(kind: Any, changes: dict[str, Any]) -> None:
    model = theirs(kind, changes)
    codec = opened(model)
    x = torch.rand(2, model.config.in_channels, 12, 20) * 2 - 1
    z = model.encode(x).latents if kind is VQModel else model.encode(x).latent_dist.mean
    assert (codec.network.encode(x) - z).abs().max() <= 1e-5
    mean, std = (torch.tensor(model.config.get(key) or [fallback])[:, None, None] for key, fallback in MOVED.items())
    shift = model.config.get("shift_factor") or 0.0
    scaled = (z - mean - shift) * model.config.scaling_factor / std  # as their pipelines do, pair by pair
    assert (codec.encode(x) - scaled).abs().max() <= 1e-5
    made = model.decode(z).sample
    assert made.std() > 0.05
    assert (codec.network.decode(z) - made).abs().max() <= 1e-5
    assert (codec.decode(scaled) - made.clamp(-1, 1)).abs().max() <= 1e-5


MOVED = {"latents_mean": 0.0, "latents_std": 1.0}


@pytest.mark.parametrize(PARAMETERS, CASES)
def test_there_and_back(kind: Any, changes: dict[str, Any]) -> None:
    model = theirs(kind, changes)
    codec = opened(model)
    config = write_autoencoder_config(codec)
    assert config.pop("_class_name") == kind.__name__
    again = kind(**config)
    again.load_state_dict(dict(write_state(codec, autoencoder_entries(codec))), strict=True)
    state = again.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    for key in SMALL.keys() | changes.keys() | {"shift_factor"}:
        if key not in ("scaling_factor", "latents_std"):
            assert plain(again.config.get(key)) == plain(model.config.get(key)), key
    reread = opened(again)
    assert (reread.shift, reread.scale) == (codec.shift, pytest.approx(codec.scale))


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@torch.no_grad()
def test_numbers_of_codes_are_looked_up_as_theirs() -> None:
    model = theirs(VQModel, VQ | {"lookup_from_codebook": True})
    network = opened(model).network
    assert isinstance(network, VQAutoencoder)
    numbers = torch.randint(11, (2, 3, 5))
    made = model.decode(numbers, force_not_quantize=True, shape=(2, 3, 5, 3)).sample
    assert (network.decode(network.look_up(numbers)) - made).abs().max() <= 1e-5


@pytest.mark.parametrize("places", [(), (1, 1)], ids=["linear", "convolution"])
def test_older_names_of_attention_are_read(places: tuple[int, ...]) -> None:
    model = theirs(AutoencoderKL, {})
    old: dict[str, Tensor] = {}
    for key, tensor in model.state_dict().items():
        for now, before in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            if f".{now}." in key:
                key = key.replace(now, before)
                tensor = tensor.reshape(*tensor.shape, *places) if tensor.ndim == 2 else tensor
        old[key] = tensor
    assert sum("attentions.0.key" in key for key in old) == 4
    state = opened(model, old).state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in opened(model).state_dict().items())


def test_stable_diffusion_by_name_and_shape() -> None:
    with torch.device("meta"):
        model = AutoencoderKL(**{key: value for key, value in PUBLISHED.items() if not key.startswith("_")})
        codec = read_autoencoder_config(PUBLISHED, "vae")
    assert sum(p.numel() for p in codec.parameters()) == 83_653_863
    assert (codec.scale, codec.shift) == ((0.18215,), (0.0,))
    written = {key: tensor.shape for key, tensor in write_state(codec, autoencoder_entries(codec))}
    assert written == {key: tensor.shape for key, tensor in model.state_dict().items()}


def changed(**changes: Any) -> dict[str, Any]:
    return PUBLISHED | changes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed(_class_name="AutoencoderTiny"), "no _class_name 'AutoencoderTiny'.*known: AutoencoderKL, VQModel"),
        (changed(_class_name=None), "no _class_name 'None'"),
        (changed(shift=1), "no setting 'shift'.*known: .*shift_factor"),
        (changed(act_fn="gelu"), "'act_fn': .*'silu' or 'swish', not 'gelu'"),
        (changed(_class_name="VQModel", norm_type="spatial"), "'norm_type': .*'group', not 'spatial'"),
        (changed(latent_channels="4"), "'latent_channels': .*integer"),
        (changed(up_block_types=["AttnUpDecoderBlock2D", *PUBLISHED["up_block_types"][1:]]), "the same levels"),
        (changed(block_out_channels=[128, 256]), "the same levels"),
        (changed(norm_num_groups=24), "groups must divide the 128 channels"),
        (changed(out_channels=4), "in_channels and out_channels are one number, not 3, 4"),
        (changed(latents_mean=[0.0] * 4), "belong together"),
        (changed(latents_mean=[0.0] * 3, latents_std=[1.0] * 3), "shift must hold 1 or 4 numbers, not 3"),
        (changed(scaling_factor=0.0), "scale must be above 0"),
    ],
)
def test_what_we_do_not_know_is_refused(config: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(FormatError, match=f"^the-vae: .*{message}"):
        read_autoencoder_config(config, "the-vae")


def test_weights_that_do_not_fit_are_named() -> None:
    model = theirs(AutoencoderKL, {})
    state = model.state_dict()
    with pytest.raises(FormatError, match="'quant_conv.bias' missing"):
        opened(model, {key: tensor for key, tensor in state.items() if key != "quant_conv.bias"})
    with pytest.raises(FormatError, match="'spare'"):
        opened(model, state | {"spare": torch.zeros(1)})
    with pytest.raises(FormatError, match="'encoder.conv_out.bias' .* \\[8\\].* \\[9\\]"):
        opened(model, state | {"encoder.conv_out.bias": torch.zeros(9)})


def test_what_they_cannot_express_is_not_written() -> None:
    small: dict[str, Any] = {"width": 8, "blocks": 1}
    with pytest.raises(InputError, match="only one of patch=1"):
        write_autoencoder_config(Latent(KLAutoencoder(multipliers=(1, 2), patch=2, **small)))
    with pytest.raises(InputError, match="one number of groups for all norms"):
        write_autoencoder_config(Latent(KLAutoencoder(multipliers=(1, 2), **small)))
    for write in (write_autoencoder_config, autoencoder_entries):
        with pytest.raises(InputError, match="diffusers has no PCA: known are a KLAutoencoder and a VQAutoencoder"):
            write(Latent(PCA()))
    with pytest.raises(InputError, match="has no shift"):
        write_autoencoder_config(Latent(VQAutoencoder(multipliers=(1, 1), **small), shift=(1.0,)))
    assert write_autoencoder_config(Latent(KLAutoencoder(multipliers=(1, 1), **small)))["norm_num_groups"] == 2
