"""A cascade among the systems that ship, by its name alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from program import Sfumato

from sfumato import library, media
from sfumato.cli.complete import model_names
from sfumato.codec import Identity, Latent
from sfumato.condition import Labels, Nothing
from sfumato.core.parameterization import EpsPrediction
from sfumato.core.schedule import Linear
from sfumato.denoise import Denoiser
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.unet import UNet
from sfumato.system import Cascade, Settings, System, Upsample
from sfumato.train.initialize import initialize, network_weights


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cascade:
    """The one system that ships: grey pictures of 4×4 of a class, and of 16×16 in latents of two channels."""
    torch.manual_seed(0)
    labels = Labels(("cat", "hen"))
    small: dict[str, Any] = {"width": 8, "multipliers": (1,), "blocks": 1, "attention": ()}
    first = Denoiser(UNet(1, 1, **small, **labels.widths), Linear(), EpsPrediction())
    second = Denoiser(UNet(2, 2, concat=2, **small), Linear(), EpsPrediction())
    codec = Latent(KLAutoencoder(1, 2, 8, (1,), 1, attention=False, patch=2))
    stages = [
        System(Identity(media.Image(1)), labels, first, Settings((4, 4), steps=2)),
        System(codec, Nothing(), second, Settings((16, 16), steps=2)),
    ]
    cascade = Cascade(stages, [Upsample()])
    cascade.save(tmp_path / "ships" / "pair")
    monkeypatch.setattr(library, "resources", lambda package: tmp_path / "ships")
    monkeypatch.setattr("sfumato.cli.complete.resources", lambda package: tmp_path / "ships")
    return cascade


def test_it_is_listed_shown_and_drawn_from_by_its_name(pair: Cascade, sfumato: Sfumato) -> None:
    assert library.shipped() == model_names("p") == ["pair"]
    (line,) = map(json.loads, sfumato("models", "--json").out.splitlines())
    assert (line["name"], line["family"], line["reads"], line["draws"]) == (
        "pair",
        "cascade of 2",
        "2 classes",
        "16×16",
    )
    assert "stage 1, weights" in sfumato("inspect", "pair").out
    done = sfumato("generate", "hen", "-m", "pair", "--seed", 1, "--device", "cpu", "--precision", "float32")
    assert done.code == 0, done.err
    drawn = library.load("pair", "cpu", "float32").generate("hen", seeds=[1])
    assert isinstance(library.load("pair"), Cascade)
    assert torch.equal(drawn.data, pair.to("cpu", "float32").generate("hen", seeds=[1]).data)


def test_a_training_begins_with_its_last_stage(pair: Cascade, tmp_path: Path) -> None:
    last = pair.stages[-1]
    for where in ("pair", tmp_path / "ships" / "pair"):
        codec = library.load_codec(where)
        assert isinstance(last.codec, Latent)
        found, own = (one.network.state_dict()["to_moments.weight"] for one in (codec, last.codec))
        assert torch.equal(found, own)
        network = UNet(2, 2, width=8, multipliers=(1,), blocks=1, attention=(), concat=2)
        line = initialize(network, network_weights(str(where)), "pair", "train.init_from")
        assert line == "train.init_from: beginning with the weights of pair"
        assert torch.equal(network.state_dict()["leave.2.weight"], last.network.state_dict()["leave.2.weight"])
