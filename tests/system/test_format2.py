"""Folders of format 2: refused with the command that writes them in today's."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sfumato import files
from sfumato.codec import Latent
from sfumato.core.discrete import DiscreteSpacing
from sfumato.core.parameterization import FlowPrediction
from sfumato.core.schedule import VE, ZeroTerminal
from sfumato.errors import FormatError, InputError
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.encoder import Encoder
from sfumato.nn.image.unet import UNet
from sfumato.sample import Euler
from sfumato.system import NoisyClassifier, System
from sfumato.system import file as system_file
from sfumato.system.format2 import convert, find_format2, upgraded

SYSTEM: dict[str, Any] = {
    "format": 2,
    "codec": {"kind": "pixels", "channels": 1},
    "conditioner": {"kind": "labels", "classes": ["cat", "dog"], "dropout": 0.1},
    "network": {
        "kind": "unet",
        "in_channels": 1,
        "out_channels": 1,
        "width": 8,
        "multipliers": [1],
        "blocks": 1,
        "attention": [],
        "vector": 2,
        "tokens": 0,
        "image": 0,
    },
    "schedule": {"kind": "zero-terminal", "of": {"kind": "linear", "T": 50}, "remains": 0.0},
    "parameterization": {"kind": "v"},
    "settings": {
        "size": [8, 8],
        "sampler": {"kind": "euler", "churn": 0.0, "spread": 1.003},
        "spacing": {
            "kind": "discrete",
            "times": "trailing",
            "offset": 0,
            "open": False,
            "whole": True,
            "most": None,
            "noise": "table",
            "ends": "visited",
            "told": "cut",
            "end": "first",
            "start": "noise",
        },
        "steps": 3,
        "guidance": 1.0,
        "interval": None,
        "rescale": 0.0,
        "bound": {"limit": 1.0, "ratio": 0.99, "keep_eps": False},
        "manners": {
            "ddim": {
                "sampler": {"kind": "ddim", "eta": 0.5},
                "spacing": {"kind": "trailing"},
                "bound": {"limit": None, "ratio": None, "keep_eps": True},
            }
        },
    },
    "about": {"tokens": "as it is", "kind": "pixels"},
}
CLASSIFIER: dict[str, Any] = {
    "format": 2,
    "codec": {"kind": "pixels", "channels": 1},
    "classes": ["cat", "dog"],
    "network": {"kind": "encoder", "in_channels": 1, "outputs": 2, "width": 8, "multipliers": [1], "attention": []},
    "about": {"steps": 3},
}
CODEC: dict[str, Any] = {
    "format": 2,
    "codec": {
        "kind": "latent",
        "network": {"kind": "kl", "in_channels": 1, "latent": 2, "width": 8, "multipliers": [1], "blocks": 1},
        "shift": [0.5],
        "scale": [2.0],
    },
    "about": {},
}
NETWORKS: dict[str, tuple[dict[str, Any], torch.nn.Module]] = {
    "system": (SYSTEM, UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), vector=2)),
    "classifier": (CLASSIFIER, Encoder(1, 2, width=8, multipliers=(1,), attention=())),
    "codec": (CODEC, Latent(KLAutoencoder(1, 2, width=8, multipliers=(1,), blocks=1))),
}


@pytest.fixture(params=NETWORKS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The table of a folder in format 2, within that of a run."""
    table, network = NETWORKS[request.param]
    part = "codec" if request.param == "codec" else "network"
    folder = tmp_path / "run" / request.param
    path = folder / "weights.safetensors"
    files.write_tensors(path, {f"{part}.{name}": value for name, value in network.state_dict().items()})
    digest = files.sha256(path)
    path = path.rename(folder / f"weights-{digest[:12]}.safetensors")
    weights = {"digest": digest, "weights": [{"file": path.name, "sha256": digest}]}
    files.write_json(folder / f"{request.param}.json", table | weights)
    return folder / f"{request.param}.json"


def test_it_is_refused_with_the_command_that_converts_it(old: Path) -> None:
    with pytest.raises(FormatError, match=r"reads format 3: convert it: sfumato export \S+ --out NEW$"):
        system_file.read_spec(old.parent, old.name)


def test_it_is_converted_with_the_same_weights(old: Path, tmp_path: Path) -> None:
    run = old.parents[1]
    assert find_format2(run) == find_format2(old.parent) == old
    convert(old, tmp_path / "new")
    assert find_format2(tmp_path / "new") is None
    (before,), (after,) = old.parent.glob("*.safetensors"), (tmp_path / "new").glob("*.safetensors")
    assert before.read_bytes() == after.read_bytes() and before.name == after.name
    assert len(list((tmp_path / "new").iterdir())) == 2
    if old.name == "system.json":
        system = System.load(tmp_path / "new", "cpu", "float32")
        assert len(system.generate("cat")) == 1
        system.save(tmp_path / "again")
    elif old.name == "classifier.json":
        NoisyClassifier.load(tmp_path / "new", "cpu", "float32").save(tmp_path / "again")
    else:
        codec, about = system_file.read_codec(tmp_path / "new")
        assert isinstance(codec, Latent) and (codec.shift, codec.scale, about) == ((0.5,), (2.0,), {})


def test_every_name_that_changed_is_todays(tmp_path: Path) -> None:
    table = upgraded(SYSTEM)
    assert table["format"] == 3 and table["about"] == SYSTEM["about"]
    assert table["network"]["context"] == table["network"]["concat"] == 0 and "tokens" not in table["network"]
    assert table["codec"] == {"kind": "identity", "medium": {"kind": "image", "channels": 1}}
    assert list(table)[list(table).index("schedule") + 1] == "process" and table["process"] == {"kind": "gaussian"}
    settings = system_file.Settings.load(table["settings"])
    assert settings.sampler == Euler(noise_scale=1.003)
    assert settings.spacing == DiscreteSpacing(
        timestep_spacing="trailing", time_input="floor", final_sigma="sigma_min", initial_std="sigma"
    )
    assert settings.thresholding is not None and settings.thresholding.ratio == 0.99
    preset = settings.presets["ddim"]
    assert preset.thresholding is not None and preset.thresholding.keep_eps
    assert system_file.SCHEDULES.load(table["schedule"]) == ZeroTerminal(
        system_file.SCHEDULES.load({"kind": "linear", "T": 50}), 0.0
    )
    others = {"schedule": {"kind": "ve", "law": "linear"}, "parameterization": {"kind": "flow", "told": "t"}}
    read = {name: upgraded(others)[name] for name in others}
    assert system_file.SCHEDULES.load(read["schedule"]) == VE(growth="linear")
    assert system_file.PARAMETERIZATIONS.load(read["parameterization"]) == FlowPrediction()


def test_a_transformer_that_does_not_say_its_frequencies_keeps_those_that_it_had() -> None:
    """At any depth of networks that hold others: i/127, and not the i/128 that are the default now."""
    held = {"kind": "with-layout", "network": {"kind": "dit", "depth": 1}, "layout": {"kind": "dense"}}
    assert upgraded({"network": held})["network"]["network"] == {"kind": "dit", "depth": 1, "frequency_shift": 1.0}
    network = {"kind": "dit", "frequency_shift": 0.0}
    assert upgraded({"network": network})["network"] == network


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        ({"weights": []}, "weights"),
        ({"digest": "0" * 63}, "its digest is no SHA-256"),
        (
            {"weights": [{"file": "weights-0.safetensors", "sha256": "0"}]},
            "weights-0.safetensors is missing",
        ),
        ({"about": 3}, "'about': input should be an object"),
        ({"codec": {"kind": "pixel"}}, "there is no codec 'pixel'"),
    ],
    ids=str,
)
def test_what_is_damaged_is_not_converted(old: Path, edit: dict[str, Any], text: str, tmp_path: Path) -> None:
    files.write_json(old, json.loads(old.read_bytes()) | edit)
    with pytest.raises((FormatError, InputError), match=text):
        convert(old, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
