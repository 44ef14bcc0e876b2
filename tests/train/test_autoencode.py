"""Training an autoencoder: what it learns by, what is kept, what its latents are like."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato import library
from sfumato.codec import Latent
from sfumato.core.condition import Condition
from sfumato.data import Dataset
from sfumato.errors import InputError, NotFoundError
from sfumato.loss.reconstruction import absolute_error, edge_error, tone_error
from sfumato.media import Image
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.system import file as system_file
from sfumato.train import train
from sfumato.train.feed import ImageFeed
from sfumato.train.fitted_codec import FittedCodec
from sfumato.train.tasks.autoencode import AutoencodeRecipe, AutoencodeTrainee, ReconstructionRecipe
from train.small_runs import newest, pictures_file, tensors

SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 1, "latent": 2, "attention": False}
SETTINGS = (
    "data.size=[8,8]",
    "data.channels=1",
    "network.width=8",
    "network.patch=1",
    "network.latent=2",
    "train.batch=4",
    "optimizer.warmup=1",
    "train.show_minutes=99",
)


def feed(n: int = 12) -> ImageFeed:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    return ImageFeed(
        Dataset(Image(pixels.shape[1]), pixels, None, ((),) * n, tuple(map(str, range(n))), (), (), (), "")
    )


def work(**changes: Any) -> AutoencodeTrainee:
    torch.manual_seed(0)
    return AutoencodeTrainee(
        AutoencodeRecipe(reconstruction=ReconstructionRecipe(**changes)), KLAutoencoder(**SMALL), feed()
    )


def asked(own: AutoencodeTrainee) -> tuple[Tensor, Any]:
    x = own.feed.samples(torch.arange(3), torch.zeros(3, dtype=torch.long))
    torch.manual_seed(1)
    return x, own.model(*own.inputs(x, torch.randn(3, *own.shape), torch.zeros(3), Condition()))


def test_the_loss_is_the_sum_of_what_the_recipe_weighs() -> None:
    own = work(edges=0.3, tones=0.7, penalty=0.01)
    x, outputs = asked(own)
    y = outputs.decoded
    expected = absolute_error(y, x) + 0.3 * edge_error(y, x) + 0.7 * tone_error(y, x) + 0.01 * outputs.penalty
    assert (own.loss(outputs, x, Condition()) - expected).abs().max() <= 1e-6
    assert own.shape == (2, 4, 4)


def test_a_discriminator_and_what_it_judges_learn_against_each_other_in_one_pass() -> None:
    """The autoencoder wants its pictures to score high; the discriminator, low. Neither's loss trains the other."""
    own = work(edges=0.0, tones=0.0, penalty=0.0, adversarial=0.5)
    network = own.model.network
    x, outputs = asked(own)
    own.loss(outputs, x, Condition()).sum().backward()
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    network.zero_grad()
    made, _ = network.autoencoder(x, _noise(own))
    (absolute_error(made, x) - 0.5 * network.discriminator(made).flatten(1).mean(1)).sum().backward()
    wanted = {name: p.grad.clone() for name, p in network.autoencoder.named_parameters() if p.grad is not None}
    network.zero_grad()
    with torch.no_grad():
        made, _ = network.autoencoder(x, _noise(own))
    judged = (1 - network.discriminator(x)).relu() + (1 + network.discriminator(made)).relu()
    judged.flatten(1).mean(1).sum().backward()
    learned = {name: p.grad.clone() for name, p in network.discriminator.named_parameters() if p.grad is not None}

    for part, gradients in (("autoencoder", wanted), ("discriminator", learned)):
        assert gradients
        for name, gradient in gradients.items():
            assert (found[f"{part}.{name}"] - gradient).abs().max() <= 1e-5, (part, name)


def _noise(own: AutoencodeTrainee) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(3, *own.shape)


def test_latents_are_brought_to_zero_mean_and_unit_variance() -> None:
    own = work()
    codec = FittedCodec(own.model.network.autoencoder, own._some(12)).codec()
    z = codec.encode(own._some(12))
    assert z.mean((0, 2, 3)).abs().max() <= 1e-5 and (z.std((0, 2, 3)) - 1).abs().max() <= 1e-4


@pytest.mark.parametrize("network", ["kl", "vq"])
def test_a_run_with_a_discriminator_is_resumed_to_the_same_bytes(network: str, tmp_path: Path) -> None:
    data = pictures_file(tmp_path / "data.npz", labels=[])
    settings = [*SETTINGS, f"network.kind={network}", "reconstruction.adversarial=0.1"]
    options: dict[str, Any] = {"recipe": "autoencoder", "settings": settings, "device": "cpu", "precision": "float32"}
    train(data, out=tmp_path / "whole", steps=4, **options)
    train(data, out=tmp_path / "halved", steps=2, **options)
    train(data, out=tmp_path / "halved", steps=4, resume=True, device="cpu", precision="float32")
    whole, halved = (tensors(newest(tmp_path / name)) for name in ("whole", "halved"))
    assert any("discriminator" in name for name in whole)
    assert whole.keys() == halved.keys() and all(torch.equal(whole[name], halved[name]) for name in whole)
    codec, about = system_file.read_codec(tmp_path / "whole" / "codec")
    assert isinstance(codec, Latent) and about["steps"] == 4 and "psnr of pictures trained on" in about
    assert not any("discriminator" in name for name in codec.state_dict()), "it is kept for resuming alone"


def test_grey_pictures_are_not_compared_in_the_features_of_coloured_ones(tmp_path: Path) -> None:
    data = pictures_file(tmp_path / "data.npz", labels=[])
    settings = [*SETTINGS, "reconstruction.perceptual=0.5", 'reconstruction.features="nowhere.npz"']
    with pytest.raises(InputError, match="compares pictures in colours, and these are grey: set data.channels=3, or"):
        train(data, out=tmp_path / "run", recipe="autoencoder", settings=settings, steps=2, device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_loss_falls(tmp_path: Path) -> None:
    data = pictures_file(tmp_path / "data.npz", n=4, labels=[])
    settings = [*SETTINGS, "optimizer.learning_rate=0.01", "average.kind=constant", "average.rate=0.0"]
    psnr = []
    for steps in (1, 60):
        fitted = train(
            data, out=tmp_path / str(steps), recipe="autoencoder", settings=settings, steps=steps, device="cpu"
        )
        _, about = system_file.read_codec(tmp_path / str(steps) / "codec")
        psnr.append(about["psnr of pictures trained on"])
    assert isinstance(fitted, FittedCodec)
    assert psnr[1] > psnr[0] + 2, psnr


def fitted(data: Path, out: Path, *settings: str, **options: Any) -> Path:
    """The folder of a run that fits a small codec, in two steps."""
    chosen = {"steps": 2, "recipe": "autoencoder", "settings": [*SETTINGS, *settings], "precision": "float32"} | options
    train(data, out=out, device="cpu", **chosen)
    return out


@pytest.mark.parametrize("network", ["kl", "vq"])
def test_a_codec_that_is_taken_up_learns_to_decode_and_keeps_its_latents(network: str, tmp_path: Path) -> None:
    data = pictures_file(tmp_path / "data.npz", labels=[])
    kind = f"network.kind={network}"
    first = library.load_codec(fitted(data, tmp_path / "first", kind))
    on = (kind, f'codec.path="{tmp_path / "first"}"', "reconstruction.noise=0.4", "optimizer.weight_decay=0.1")
    second = library.load_codec(fitted(data, tmp_path / "second", *on))

    pictures = torch.rand(4, 1, 8, 8) * 2 - 1
    latents = first.encode(pictures)
    assert torch.equal(second.encode(pictures), latents)
    assert not torch.equal(second.decode(latents), first.decode(latents))
    first.check_like(second)
    other = library.load_codec(fitted(data, tmp_path / "other", kind, "train.seed=1"))
    with pytest.raises(InputError, match="the two codecs have other latents: only one that was trained on from the"):
        first.check_like(other)

    fitted(data, tmp_path / "halved", *on, steps=1)
    (tmp_path / "first").rename(tmp_path / "moved")  # the run has a copy of what it was given
    fitted(data, tmp_path / "halved", recipe=None, settings=(), resume=True)
    whole, halved = (tensors(newest(tmp_path / name)) for name in ("second", "halved"))
    assert whole.keys() == halved.keys() and all(torch.equal(whole[name], halved[name]) for name in whole)


def test_a_codec_of_another_shape_is_not_taken_up(tmp_path: Path) -> None:
    data = pictures_file(tmp_path / "data.npz", labels=[])
    first = fitted(data, tmp_path / "first")
    for setting, message in (
        (f'codec.path="{first}"', "is of another shape than the recipe's: network.latent: 2 → 3"),
        (f'codec.path="{tmp_path / "none"}"', "holds no codec"),
    ):
        with pytest.raises((InputError, NotFoundError), match=message):
            fitted(data, tmp_path / "second", setting, "network.latent=3")
        assert not (tmp_path / "second").exists()


def test_noise_before_the_decoder_is_of_many_strengths() -> None:
    own = work(noise=0.5)
    x, noise, t = torch.zeros(3, 3, 8, 8), torch.randn(3, 2, 4, 4), torch.tensor([0.0, 499.5, 999.0])
    *_, level = own.inputs(x, noise, t, Condition())
    assert torch.equal(level, torch.tensor([0.0, 0.25, 0.5]))
    assert len(work().inputs(x, noise, t, Condition())) == 2
