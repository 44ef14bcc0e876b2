"""A system on disk: `system.json`, and the weights that it names. A classifier likewise, with `classifier.json`.

Weights carry their SHA-256 in their name and the JSON is replaced last, so that a folder holds one whole system at
every moment.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from sfumato import files
from sfumato.codec import Codec
from sfumato.condition import Conditioner
from sfumato.core.parameterization import Parameterization
from sfumato.core.schedule import Schedule
from sfumato.errors import FormatError, InputError
from sfumato.parts import (
    CODECS,
    CONDITIONERS,
    NETWORKS,
    PARAMETERIZATIONS,
    SCHEDULES,
    part_field,
    validate,
)
from sfumato.settings import SettingsTable

FORMAT = 1
"""The version of the folder's layout; a change that older readers would get wrong raises it."""
NAME = "system.json"
CLASSIFIER = "classifier.json"


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Weights(_Table):
    """Which file holds the weights, and its SHA-256."""

    file: str
    sha256: str


class SystemFile(_Table):
    """What `system.json` says."""

    format: int
    codec: Annotated[Codec, part_field(CODECS)]
    conditioner: Annotated[Conditioner, part_field(CONDITIONERS)]
    network: dict[str, Any]
    schedule: Annotated[Schedule, part_field(SCHEDULES)]
    parameterization: Annotated[Parameterization, part_field(PARAMETERIZATIONS)]
    settings: SettingsTable
    about: dict[str, Any]
    weights: Weights


class ClassifierFile(_Table):
    """What `classifier.json` says."""

    format: int
    codec: Annotated[Codec, part_field(CODECS)]
    classes: tuple[str, ...]
    network: dict[str, Any]
    about: dict[str, Any]
    weights: Weights


F = TypeVar("F", SystemFile, ClassifierFile)


def write(folder: Path, spec: dict[str, Any], tensors: dict[str, Tensor], name: str = NAME) -> str:
    """Write a system to `folder`, over any that is there; returns the SHA-256 of its weights."""
    digest = files.tensors_sha256(tensors)
    weights = folder / f"network-{digest[:12]}.safetensors"
    files.write_tensors(weights, tensors)
    files.write_json(folder / name, {**spec, "weights": {"file": weights.name, "sha256": digest}})
    for old in folder.glob("network-*.safetensors"):
        if old != weights:
            old.unlink(missing_ok=True)
    return digest


def read_spec(folder: Path, name: str = NAME) -> dict[str, Any]:
    """The table in `system.json`, of a format that this version reads."""
    path = folder / name
    if not path.exists():
        raise FormatError(f"{folder} holds no {path.stem}: there is no {name} in it")
    data = files.read_json(path)
    if data.get("format") != FORMAT:
        raise FormatError(
            f"{path} is in format {data.get('format')!r}, and this version of Sfumato ({version('sfumato')}) reads"
            f" format {FORMAT}: use the version that wrote it"
        )
    return data


def describe(folder: Path) -> tuple[dict[str, Any], Path, dict[str, tuple[str, list[int]]]]:
    """What is in a folder, without loading it: the table, the weights' file, and each tensor's type and shape."""
    data = read_spec(folder)
    try:
        weights = validate(Weights, data.get("weights", {}), "weights")
    except InputError as error:
        raise FormatError(f"{folder / NAME}: {error}") from error
    assert isinstance(weights, Weights)
    path = _weights_path(folder, weights.file)
    return data, path, files.read_shapes(path)


def read(folder: Path) -> tuple[SystemFile, nn.Module]:
    """The system in `folder`: what it says, and its network with its weights."""
    return _read(folder, NAME, SystemFile, _check_fit)


def read_classifier(folder: Path) -> tuple[ClassifierFile, nn.Module]:
    """The classifier in `folder`: what it says, and its network with its weights."""
    return _read(folder, CLASSIFIER, ClassifierFile, _check_classifier)


def _read(folder: Path, name: str, kind: type[F], check: Callable[[F, nn.Module], None]) -> tuple[F, nn.Module]:
    path = folder / name
    data = read_spec(folder, name)
    try:
        said = validate(kind, data, "")
        assert isinstance(said, kind)
        with torch.device("meta"):
            network = NETWORKS.load(said.network)
        check(said, network)
    except InputError as error:
        raise FormatError(f"{path}: {error}") from error
    except (RuntimeError, OverflowError) as error:  # torch's word for shapes that no memory could hold
        raise FormatError(f"{path}: its network cannot be built: {str(error).splitlines()[0]}") from error
    tensors = _read_weights(folder, said.weights, name)
    _check_shapes(folder / said.weights.file, network, tensors)
    network.load_state_dict(tensors, assign=True)
    return said, network


def _check_fit(said: SystemFile, network: nn.Module) -> None:
    """Raise an `InputError` unless codec, conditioner and network are of one system, with settings that can be."""
    said.settings.settings().check()
    expected = {
        "in_channels": said.codec.channels,
        "vector": said.conditioner.doors.get("vector", 0),
        "tokens": said.conditioner.doors.get("tokens", 0),
    }
    if said.codec.channels not in (1, 3) or not 0 <= said.conditioner.dropout <= 1:
        raise InputError(
            f"pictures have 1 or 3 channels and dropout lies in [0, 1], not {said.codec}, {said.conditioner}"
        )
    if hasattr(network, "outputs"):
        raise InputError("a system's network gives samples, and an encoder gives classes")
    channels = said.codec.channels
    if (out := getattr(network, "out_channels", channels)) not in (channels, 2 * channels):
        raise InputError(f"network.out_channels is {out}, and the codec wants {channels}, or twice that for a variance")
    for name, value in expected.items():
        found = getattr(network, name, value)
        if found != value:
            raise InputError(f"network.{name} is {found}, and codec and conditioner want {value}")


def _check_classifier(said: ClassifierFile, network: nn.Module) -> None:
    """Raise an `InputError` unless codec, classes and network are of one classifier."""
    if said.codec.channels not in (1, 3) or len(said.classes) < 2:
        raise InputError(
            f"a classifier reads 1 or 3 channels into two classes or more, not {said.codec}, {said.classes}"
        )
    for name, value in {"in_channels": said.codec.channels, "outputs": len(said.classes)}.items():
        if getattr(network, name, None) != value:
            raise InputError(f"network.{name} should be {value}, for the codec and the classes")


def _read_weights(folder: Path, weights: Weights, name: str) -> dict[str, Tensor]:
    """The weights' tensors, from the file that the JSON means and no other."""
    path = _weights_path(folder, weights.file, name)
    if files.sha256(path) != weights.sha256:
        raise FormatError(f"{path} is damaged: its hash is not the one in {name}; copy the folder again")
    return files.read_tensors(path)[0]


def _weights_path(folder: Path, name: str, said_by: str = NAME) -> Path:
    """The file of that name in the folder, which must be there and nowhere else."""
    if Path(name).name != name or not name.endswith(".safetensors") or len(name) > 200 or not name.isprintable():
        raise FormatError(f"{folder / said_by} names its weights {name[:200]!r}: it should be a file beside it")
    if not (folder / name).is_file():
        raise FormatError(f"{folder} is not whole: {name} is missing; copy the folder again")
    return folder / name


def _check_shapes(path: Path, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raise a `FormatError` unless the tensors are the network's, by name, shape and kind of number."""
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if wrong := sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)):
        key = wrong[0]
        raise FormatError(
            f"{path} does not fit its network: '{key}' should be {wanted.get(key, 'absent')} and is"
            f" {found.get(key, 'absent')} ({len(wrong)} such)"
        )
    if odd := sorted(key for key, tensor in tensors.items() if not tensor.is_floating_point()):
        raise FormatError(
            f"{path} does not fit its network: '{odd[0]}' holds {tensors[odd[0]].dtype}, not real numbers"
        )
