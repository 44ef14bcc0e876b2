"""A system on disk: `system.json`, and the weights that it names. A classifier and a codec likewise, with
`classifier.json` and `codec.json`.

Weights lie in one file or several, carry their SHA-256 in their name, and the JSON is replaced last, so that a folder
holds one whole system at every moment.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sfumato import files
from sfumato.codec import Codec
from sfumato.condition import Conditioner
from sfumato.core.defaults import torch_defaults
from sfumato.core.parameterization import Parameterization
from sfumato.core.process import Gaussian, Process, TokenProcess
from sfumato.core.schedule import Schedule
from sfumato.errors import FormatError, InputError, NotFoundError, quoted
from sfumato.media import Image, Text
from sfumato.parts import (
    CODECS,
    CONDITIONERS,
    NETWORKS,
    PARAMETERIZATIONS,
    PROCESSES,
    SCHEDULES,
    part_field,
    validate,
)
from sfumato.system.settings import Settings

SYSTEM_FORMAT = 3
"""The version of the folder's layout; a change that older readers would get wrong raises it."""
SYSTEM_FILE = "system.json"
CASCADE_FILE = "cascade.json"
"""Beside the folders of its systems: see `Cascade.save`."""
CLASSIFIER_FILE = "classifier.json"
CODEC_FILE = "codec.json"
SHARD = 4 * 2**30
"""The most bytes of weights in one file by default."""

Parts = Mapping[str, nn.Module]
"""What of a system has weights, by the name that the weights' own names begin with."""


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Shard(_Table):
    """A file that holds weights, and its SHA-256."""

    file: str
    sha256: str


Shards = Annotated[tuple[Shard, ...], Field(min_length=1, max_length=1000)]


class SystemFile(_Table):
    """What `system.json` says."""

    format: int
    codec: dict[str, Any]
    conditioner: Annotated[Conditioner, part_field(CONDITIONERS)]
    network: dict[str, Any]
    schedule: Annotated[Schedule, part_field(SCHEDULES)]
    process: Annotated[Process, part_field(PROCESSES)]
    parameterization: Annotated[Parameterization, part_field(PARAMETERIZATIONS)] | None = None
    """Of numbers, under Gaussian noise; tokens have none."""
    settings: dict[str, Any]
    about: dict[str, Any]
    digest: str
    weights: Shards


class ClassifierFile(_Table):
    """What `classifier.json` says."""

    format: int
    codec: dict[str, Any]
    classes: tuple[str, ...]
    network: dict[str, Any]
    about: dict[str, Any]
    digest: str
    weights: Shards


class CodecFile(_Table):
    """What `codec.json` says."""

    format: int
    codec: dict[str, Any]
    about: dict[str, Any]
    digest: str
    weights: Shards


F = TypeVar("F", SystemFile, ClassifierFile, CodecFile)


def write_folder(
    folder: Path,
    spec: dict[str, Any],
    parts: Parts,
    name: str = SYSTEM_FILE,
    shard: int = SHARD,
    digest: str | None = None,
) -> str:
    """Write a system to `folder`, over any that is there; returns the digest of its weights.

    A file of weights holds at most `shard` bytes, or a single tensor that is larger. `digest` is the one that the
    weights are known by, whatever the precision that they are written in; None: that of what is written.
    """
    if name == SYSTEM_FILE and (folder / CASCADE_FILE).exists():
        raise InputError(f"{folder} holds a cascade, which would be drawn with in its place: give another folder")
    shards = []
    for tensors in _shards(_tensors(parts), shard):
        hashed = files.tensors_sha256(tensors)
        path = folder / f"weights-{hashed[:12]}.safetensors"
        files.write_tensors(path, tensors)
        shards.append({"file": path.name, "sha256": hashed})
    whole = digest or (weights_digest(parts) if len(shards) > 1 else shards[0]["sha256"])
    files.write_json(folder / name, {"format": SYSTEM_FORMAT, **spec, "digest": whole, "weights": shards})
    for old in folder.glob("weights-*.safetensors"):  # those of before, and what a failure left
        if old.name not in [one["file"] for one in shards]:
            old.unlink(missing_ok=True)
    return whole


def remove_system(folder: Path) -> None:
    """Remove the system in a folder, if there is one, whose place a cascade has taken."""
    if (folder / SYSTEM_FILE).exists():
        for old in (folder / SYSTEM_FILE, *folder.glob("weights-*.safetensors")):
            old.unlink(missing_ok=True)


def fingerprint(spec: Mapping[str, Any], digest: str) -> str:
    """Twelve hexadecimal digits of a hash of a table and of the digest of the weights."""
    return hashlib.sha256((json.dumps(spec, sort_keys=True) + digest).encode()).hexdigest()[:12]


def saved_fingerprint(folder: Path, name: str = SYSTEM_FILE) -> str:
    """The fingerprint of what is saved in `folder`, by its table alone: no weights are read."""
    table = read_spec(folder, name)
    spec = {key: value for key, value in table.items() if key not in ("format", "digest", "weights")}
    return fingerprint(spec, str(table.get("digest")))


def weights_digest(parts: Parts) -> str:
    """A hash of all weights, which does not hang on how many files they lie in: that of a single file."""
    return files.tensors_sha256(_tensors(parts))


def _tensors(parts: Parts) -> dict[str, Tensor]:
    """All weights, each under the name of its part."""
    return {f"{part}.{key}": value for part, module in parts.items() for key, value in module.state_dict().items()}


def _shards(tensors: dict[str, Tensor], most: int) -> Iterator[dict[str, Tensor]]:
    """The tensors in groups of at most so many bytes, in the order of their names."""
    group: dict[str, Tensor] = {}
    for key in sorted(tensors):
        if group and sum(one.nbytes for one in group.values()) + tensors[key].nbytes > most:
            yield group
            group = {}
        group[key] = tensors[key]
    yield group


def read_spec(folder: Path, name: str = SYSTEM_FILE) -> dict[str, Any]:
    """The table in `system.json`, of a format that this version reads."""
    path = folder / name
    if not path.exists():
        kind = FormatError if folder.is_dir() else NotFoundError
        raise kind(f"{folder} holds no {path.stem}: there is no {name} in it")
    data = files.read_json(path, finite=True)
    if data.get("format") != SYSTEM_FORMAT:
        way = f"convert it: sfumato export {shlex.quote(str(folder))} --out NEW"
        raise FormatError(
            f"{path} is in format {data.get('format')!r}, and this version of Sfumato ({version('sfumato')}) reads"
            f" format {SYSTEM_FORMAT}: {way if data.get('format') == 2 else 'use the version that wrote it'}"
        )
    return data


def read_outline(
    folder: Path, name: str = SYSTEM_FILE, table: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[Path], dict[str, tuple[str, list[int]]]]:
    """What is in a folder, without loading it: the table, read unless given, the weights' files, and each tensor's type
    and shape."""
    data = table or read_spec(folder, name)
    try:
        shards = validate(_Weighed, {"weights": data.get("weights", [])}, "")
    except InputError as error:
        raise FormatError(f"{folder / name}: {error}") from error
    assert isinstance(shards, _Weighed)
    paths = [_weights_path(folder, shard.file, name) for shard in shards.weights]
    return data, paths, {key: value for path in paths for key, value in files.read_shapes(path).items()}


class _Weighed(_Table):
    weights: Shards


def read_system(folder: Path) -> tuple[SystemFile, Codec, nn.Module]:
    """The system in `folder`: what it says, its codec and its network, with their weights."""
    spec, codec, network = _read(folder, SYSTEM_FILE, SystemFile, _check_fit)
    assert network is not None
    return spec, codec, network


def read_classifier(folder: Path) -> tuple[ClassifierFile, Codec, nn.Module]:
    """The classifier in `folder`: what it says, its codec and its network, with their weights."""
    spec, codec, network = _read(folder, CLASSIFIER_FILE, ClassifierFile, _check_classifier)
    assert network is not None
    return spec, codec, network


def read_codec(folder: Path) -> tuple[Codec, dict[str, Any]]:
    """The codec in `folder`, with its weights, and its `about`."""
    spec, codec, _ = _read(folder, CODEC_FILE, CodecFile, _check_codec)
    return codec, spec.about


@torch_defaults()
def _read(
    folder: Path, name: str, kind: type[F], check: Callable[[F, Codec, Any], None]
) -> tuple[F, Codec, nn.Module | None]:
    path = folder / name
    data = read_spec(folder, name)
    try:
        spec = validate(kind, data, "")
        assert isinstance(spec, kind)
        with torch.device("meta"):
            codec = CODECS.load(spec.codec)
            network = None if isinstance(spec, CodecFile) else NETWORKS.load(spec.network)
        check(spec, codec, network)
    except InputError as error:
        raise FormatError(f"{path}: {error}") from error
    except (RuntimeError, OverflowError) as error:  # torch's word for shapes that no memory could hold
        raise FormatError(f"{path}: its network cannot be built: {str(error).splitlines()[0]}") from error
    parts = weighty(codec, network)
    tensors = _read_weights(folder, spec.weights, name)
    _check_shapes(folder / name, parts, tensors)
    for part, module in parts.items():
        own = {
            key.removeprefix(f"{part}."): files.aligned(value)
            for key, value in tensors.items()
            if key.startswith(f"{part}.")
        }
        module.load_state_dict(own, assign=True)
    if not re.fullmatch("[0-9a-f]{64}", spec.digest):
        raise FormatError(f"{path} is damaged: its digest is no SHA-256; copy the folder again")
    return spec, codec, network


def weighty(codec: Codec, network: nn.Module | None) -> dict[str, nn.Module]:
    """Those of the two that have weights."""
    return {part: own for part, own in (("network", network), ("codec", codec)) if isinstance(own, nn.Module)}


def _check_fit(spec: SystemFile, codec: Codec, network: nn.Module) -> None:
    """Raise an `InputError` unless codec, conditioner and network are of one system, with settings that can be."""
    Settings.load(spec.settings).check(codec.medium)
    spec.conditioner.check(network)
    _check_process(spec, codec, network)
    expected = {"in_channels": codec.channels} | spec.conditioner.widths  # others are the caller's to give
    _check_codec(spec, codec)
    if not 0 <= spec.conditioner.dropout <= 1:
        raise InputError(f"dropout lies in [0, 1], not {spec.conditioner}")
    if hasattr(network, "outputs"):
        raise InputError("a system's network gives samples, and an encoder gives classes")
    if (out := getattr(network, "out_channels", codec.channels)) not in (codec.channels, 2 * codec.channels):
        raise InputError(
            f"network.out_channels is {out}, and the codec wants {codec.channels}, or twice that for a variance"
        )
    for name, value in expected.items():
        found = getattr(network, name, value)
        if found != value:
            raise InputError(f"network.{name} is {found}, and codec and conditioner want {value}")


def _check_process(spec: SystemFile, codec: Codec, network: nn.Module) -> None:
    """Raise an `InputError` unless process, parameterization, data and network are all of numbers, or all of tokens."""
    if isinstance(spec.process, Gaussian):
        if spec.parameterization is None:
            raise InputError("'parameterization' is missing")
        return
    if spec.parameterization is not None:
        raise InputError(f"process is {spec.process}, and a system with a parameterization has gaussian noise")
    if not isinstance(codec.medium, Text):
        raise InputError(f"process is {spec.process}, which is for texts, and not for {codec.medium.plural}")
    assert isinstance(spec.process, TokenProcess)
    if (tokens := getattr(network, "tokens", None)) != (wanted := codec.medium.vocabulary):
        raise InputError(f"network.tokens is {tokens}, and the tokenizer has {wanted:,}")
    spec.process.log_probabilities(torch.zeros(1, 1, wanted), torch.zeros(1, 1, dtype=torch.long))  # checks its tokens


def _check_classifier(spec: ClassifierFile, codec: Codec, network: nn.Module) -> None:
    """Raise an `InputError` unless codec, classes and network are of one classifier."""
    _check_codec(spec, codec)
    if len(spec.classes) < 2:
        raise InputError(f"a classifier has two classes or more, not {spec.classes}")
    for name, value in {"in_channels": codec.channels, "outputs": len(spec.classes)}.items():
        if getattr(network, name, None) != value:
            raise InputError(f"network.{name} should be {value}, for the codec and the classes")


def _check_codec(spec: Any, codec: Codec, network: None = None) -> None:
    """Raise an `InputError` for a codec whose pictures are neither grey nor in colours."""
    if isinstance(codec.medium, Image) and codec.medium.channels not in (1, 3):
        raise InputError(f"pictures have 1 or 3 channels, not {codec.medium.channels}")


def _read_weights(folder: Path, shards: tuple[Shard, ...], name: str) -> dict[str, Tensor]:
    """The weights' tensors, from the files that the JSON means and no others."""
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        path = _weights_path(folder, shard.file, name)
        if files.sha256(path) != shard.sha256:
            raise FormatError(f"{path} is damaged: its hash is not the one in {name}; copy the folder again")
        tensors |= files.read_tensors(path)[0]
    return tensors


def _weights_path(folder: Path, name: str, named_in: str = SYSTEM_FILE) -> Path:
    """The file of that name in the folder, which must be there and nowhere else."""
    if Path(name).name != name or not name.endswith(".safetensors") or len(name) > 200 or not name.isprintable():
        raise FormatError(f"{folder / named_in} names its weights {quoted(name)}: it should be a file beside it")
    if not (folder / name).is_file():
        raise FormatError(f"{folder} is not whole: {name} is missing; copy the folder again")
    return folder / name


def _check_shapes(path: Path, parts: Parts, tensors: dict[str, Tensor]) -> None:
    """Raise a `FormatError` unless the tensors are those of the parts, by name, shape and kind of number."""
    own = _tensors(parts)
    wanted = {key: tuple(tensor.shape) for key, tensor in own.items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if wrong := sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)):
        key = wrong[0]
        raise FormatError(
            f"the weights of {path} do not fit: '{key}' should be {wanted.get(key, 'absent')} and is"
            f" {found.get(key, 'absent')} ({len(wrong)} such)"
        )
    if odd := sorted(key for key, tensor in tensors.items() if _kind(tensor) != _kind(own[key])):
        raise FormatError(
            f"the weights of {path} do not fit: '{odd[0]}' holds {tensors[odd[0]].dtype}, not {_kind(own[odd[0]])}"
        )


def _kind(tensor: Tensor) -> str:
    """What a tensor holds: real numbers of whatever precision, or whole numbers of this type."""
    return "real numbers" if tensor.is_floating_point() else str(tensor.dtype)
