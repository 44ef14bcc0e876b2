"""A classifier of noisy samples: it learns, it is saved and found again, and it guides."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import files, machine
from sfumato.codec import Identity
from sfumato.core.level import Level
from sfumato.core.schedule import EDM, VP, Flow, Linear, Schedule
from sfumato.errors import FormatError, InputError, ShapeError
from sfumato.media import Image
from sfumato.nn.image.encoder import Encoder
from sfumato.oracle import GaussianDenoiser
from sfumato.system.classifier import NoisyClassifier
from sfumato.train import train
from sfumato.train.recipe import load_recipe

CLASSES = ("cat", "dog", "fish")


def classifier(seed: int = 0) -> NoisyClassifier:
    torch.manual_seed(seed)
    network = Encoder(in_channels=1, outputs=3, width=8, multipliers=(1, 2), attention=(1,))
    return NoisyClassifier(network, Identity(Image(1)), CLASSES)


def halves(path: Path, n: int = 96) -> Path:
    """Pictures that are bright on the left (class 0) or on the right (class 1)."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    pictures = rng.integers(0, 60, (n, 8, 8), dtype=np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[:, 4 * label : 4 * label + 4] += 180
    np.savez(path, images=pictures, labels=labels)
    return path


def test_it_gives_log_probabilities() -> None:
    level = Linear()(torch.tensor([0, 500, 999]))
    found = classifier()(torch.randn(3, 1, 8, 8), level)
    assert found.shape == (3, 3) and torch.allclose(found.exp().sum(1), torch.ones(3))


@pytest.mark.parametrize("schedule", [VP(), EDM(), Flow()], ids=repr)
def test_the_schedule_does_not_matter_but_only_the_noise(schedule: Schedule) -> None:
    """Scaled to unit variance and conditioned on λ, samples of the same noise are the same to it."""
    logsnr = torch.tensor([-2.0, 0.5], dtype=torch.float64)
    here, there = schedule(schedule.inverse(logsnr)), Linear()(Linear().inverse(logsnr))
    unit, own = torch.randn(2, 1, 8, 8), classifier().eval()
    by_hand = [(level.alpha**2 + level.sigma**2).sqrt().float().reshape(-1, 1, 1, 1) for level in (here, there)]
    assert (own(unit * by_hand[0], here) - own(unit * by_hand[1], there)).abs().max() < 1e-4


def test_clean_and_pure_noise_are_levels_too() -> None:
    clean, noise = Flow()(torch.tensor([0.0])), Flow()(torch.tensor([1.0]))
    for level in (clean, noise):
        assert classifier()(torch.randn(2, 1, 8, 8), level).isfinite().all()


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    own, level, x = classifier().eval(), VP()(torch.tensor([0.3])), torch.randn(2, 1, 8, 8)
    own.about = {"steps": 3}
    again = NoisyClassifier.load(own.save(tmp_path / "one"), "cpu", "float32")
    assert torch.equal(again(x, level), own(x, level))
    assert again.classes == CLASSES and again.about == {"steps": 3}
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no classifier: there is no classifier.json in it"):
        NoisyClassifier.load(tmp_path)
    folder = classifier().save(tmp_path / "one")
    file = folder / "classifier.json"
    text = file.read_text()
    for good, bad in (('"dog"', '"dog", "cow"'), ('"outputs": 3', '"outputs": 4'), ('"channels": 1', '"channels": 3')):
        file.write_text(text.replace(good, bad))
        with pytest.raises(FormatError, match=r"network\.(outputs|in_channels) should be"):
            NoisyClassifier.load(folder)
    file.write_text(text)
    next(folder.glob("*.safetensors")).write_bytes(b"other")
    with pytest.raises(FormatError, match="is damaged"):
        NoisyClassifier.load(folder)


def test_it_pulls_samples_towards_the_class_that_is_asked_for() -> None:
    own = classifier().eval()
    torch.nn.init.normal_(own.network.down[0].residual.conv2.weight, std=0.1)
    law = GaussianDenoiser(VP(), torch.zeros(1, 8, 8), torch.ones(1, 8, 8))
    x, level = torch.randn(4, 1, 8, 8), VP()(torch.tensor([0.4]))
    toward = own.guide("dog", scale=3.0)
    assert (toward.index, toward.scale) == (1, 3.0)
    shift = toward(law)(x, level).x0 - law(x, level).x0
    nearer = own(x + 1e-2 * shift, level)[:, 1] - own(x, level)[:, 1]
    assert (nearer > 0).all()
    with pytest.raises(InputError, match="there is no class 'bird' here"):
        own.guide("bird")


def test_it_learns_from_noised_pictures(tmp_path: Path) -> None:
    data = halves(tmp_path / "halves.npz")
    settings = ["network.width=16", "network.patch=1", "network.dropout=0.0", "optimizer.warmup=5", "train.batch=32"]
    options = {"out": tmp_path / "run", "recipe": "classifier", "settings": settings, "device": "cpu"}
    own = train(data, steps=40, **options)
    assert isinstance(own, NoisyClassifier) and own.about["steps"] == 40
    again = NoisyClassifier.load(tmp_path / "run")
    held = np.load(data)
    x_0 = torch.from_numpy(held["images"])[:, None].float() / 127.5 - 1
    labels = torch.from_numpy(held["labels"])

    def share_right(sigma: float) -> float:
        level = Level(*torch.tensor([[sigma], [(1 - sigma**2) ** 0.5], [sigma]], dtype=torch.float64))
        noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
        x_t = float(level.alpha) * x_0 + sigma * noise
        return float((again(x_t, level).argmax(1) == labels).float().mean())

    assert share_right(0.1) > 0.95
    assert share_right(0.1) >= share_right(0.9999) - 0.05
    resumed = train(None, out=tmp_path / "run", resume=True, steps=42, device="cpu")
    assert resumed.about["steps"] == 42


def test_its_weights_are_float32_in_training_where_bfloat16_is_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own `to` chooses what is fast to guide with; small steps of training would be lost in that."""
    monkeypatch.setattr(machine, "fast_bfloat16", lambda kind: True)
    settings = ["network.width=16", "network.patch=1", "train.batch=8"]
    options = {"recipe": "classifier", "settings": settings, "device": "cpu", "steps": 2}
    own = train(halves(tmp_path / "halves.npz"), out=tmp_path / "run", **options)
    assert {weight.dtype for weight in own.network.parameters()} == {torch.bfloat16}
    kept, _ = files.read_tensors(next((tmp_path / "run" / "checkpoints").iterdir()))
    assert {value.dtype for value in kept.values()} == {torch.float32}


def test_without_classes_there_is_nothing_to_classify(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", images=np.zeros((8, 8, 8), np.uint8))
    with pytest.raises(InputError, match="a classifier needs classes, two or more"):
        train(tmp_path / "plain.npz", out=tmp_path / "run", recipe="classifier", steps=1)
    assert not (tmp_path / "run").exists()


def test_task_and_network_belong_together() -> None:
    with pytest.raises(InputError, match="task is denoise wants network.kind=unet or dit, not encoder"):
        load_recipe("digits", ["network.kind=encoder"])
    with pytest.raises(InputError, match="task is classify wants network.kind=encoder, not unet"):
        load_recipe("classifier", ["network.kind=unet"])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"outputs": 0}, "outputs must be from 1"),
        ({"multipliers": ()}, "multipliers must be"),
        ({"attention": (3,)}, "attention names level 3"),
        ({"dropout": 1.0}, "dropout must be"),
    ],
)
def test_an_encoder_that_cannot_be(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Encoder(**arguments)  # pyright: ignore[reportArgumentType]


def test_a_size_that_the_levels_do_not_divide() -> None:
    with pytest.raises(ShapeError, match="a picture of 8×6 does not fit an encoder of 3 levels"):
        Encoder(in_channels=1)(torch.zeros(1, 1, 6, 8), torch.zeros(1))
