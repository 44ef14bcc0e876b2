"""A picture depends on its seed: not on how many are drawn at once, in what order, nor by how many processes."""

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sfumato
from sfumato.codec import Identity, Latent
from sfumato.condition import Labels, Nothing
from sfumato.core.parameterization import VPrediction, X0Prediction
from sfumato.core.schedule import Cosine, Flow, Linear
from sfumato.denoise import Denoiser
from sfumato.errors import DataError
from sfumato.library import shipped
from sfumato.media import Image
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.unet import UNet
from sfumato.system import Cascade, System
from sfumato.system.settings import Settings
from train.nursery import Nursery

CLASSES = Labels(("cat", "dog", "hen"))
SEEDS = list(range(16))


def stirred(network: torch.nn.Module) -> Any:
    """All weights random, none at the zero that they would start from."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def unet(channels: int = 1, **options: Any) -> UNet:
    return stirred(UNet(channels, channels, width=8, multipliers=(1, 2), blocks=1, attention=(1,), **options))


def system(network: Any, codec: Any, conditioner: Any, schedule: Any, parameterization: Any, **settings: Any) -> System:
    return System(codec, conditioner, Denoiser(network, schedule, parameterization), Settings((8, 8), **settings))


# Not of eps: at the first level its x_0 is what the network says over alpha, and so 150 times the rounding of that.
SYSTEMS = {
    "classes": lambda: system(
        unet(**CLASSES.widths), Identity(Image(1)), CLASSES, Cosine(), X0Prediction(), steps=4, guidance=2.0
    ),
    "anything": lambda: system(unet(3), Identity(Image(3)), Nothing(), Linear(), VPrediction(), steps=4),
    "transformer": lambda: system(
        stirred(DiT(1, 1, width=16, depth=2, head_width=8, patch=2)),
        Identity(Image(1)),
        Nothing(),
        Flow(),
        VPrediction(),
        steps=4,
    ),
    "latents": lambda: system(
        unet(2),
        Latent(stirred(KLAutoencoder(3, 2, width=8, patch=2, multipliers=(1,), blocks=1))),
        Nothing(),
        Cosine(),
        VPrediction(),
        steps=4,
    ),
}
SAMPLERS = ("ddim", "ddim,eta=1", "dpm++")


def draw(system: System, seeds: list[int], batch: int | None = None, **options: Any) -> Tensor:
    return system.generate(seeds=seeds, batch=batch, **options).data


def furthest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_neither_the_batch_nor_the_order_decides_a_picture(name: str, sampler: str) -> None:
    own = SYSTEMS[name]().to("cpu", "float32")
    options: dict[str, Any] = {"sampler": sampler} | ({"prompt": "dog"} if name == "classes" else {})
    alone = torch.cat([draw(own, [seed], **options) for seed in SEEDS])
    apart = torch.cdist(alone.flatten(1), alone.flatten(1)) + 1e3 * torch.eye(len(SEEDS))
    assert apart.min() > 0.01, "sixteen seeds give sixteen pictures"
    for batch in (1, 4, 16):
        assert furthest(draw(own, SEEDS, batch, **options), alone) <= 1e-5
    order = random.Random(0).sample(SEEDS, len(SEEDS))
    assert furthest(draw(own, order, 5, **options), alone[order]) <= 1e-5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize("name", SYSTEMS)
def test_two_processes_draw_what_one_does(name: str, nursery: Nursery, tmp_path: Path) -> None:
    own = SYSTEMS[name]().to("cpu", "float32")
    folder = own.save(tmp_path / "system")
    shares = {tmp_path / "even.pt": SEEDS[::2], tmp_path / "odd.pt": SEEDS[1::2]}
    children = [nursery.start(first=("drawn", str(folder), str(path), seeds, {})) for path, seeds in shares.items()]
    for child in children:
        assert child.end() == 0, child.stderr.read_text()
    both = torch.stack([torch.load(path, weights_only=True) for path in shares], 1).flatten(0, 1)
    assert furthest(both, draw(own, SEEDS)) <= 1e-5


@pytest.mark.parametrize("name", shipped())
def test_what_ships_draws_the_same_in_any_batch(name: str) -> None:
    own = sfumato.load(name, "cpu", "float32")
    try:
        alone, together = (draw(own, SEEDS[:4], batch, prompt="a cat", steps=4) for batch in (1, 4))
    except DataError as error:
        pytest.skip(f"the text encoder's weights are not here: {error}")
    bound = 2e-5  # 1.25e-5 on a processor with AVX2 alone
    if isinstance(own, Cascade):  # a box of 128 pixels that δ moves or makes larger has edges that move by 64·δ each
        boxes = furthest(*(draw(own.stages[0], SEEDS[:4], batch, prompt="a cat") for batch in (1, 4)))
        bound += 2 * 2 * 64 * boxes  # by both, of pixels that differ by 2 at most
        assert boxes <= 1e-6
    assert furthest(alone, together) <= bound
