"""Weights of other tools on disk: the files that hold them, and each read when it is asked for."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sfumato import files
from sfumato.errors import FormatError, quoted
from sfumato.wording import shortened

_STEMS = ("diffusion_pytorch_model", "model")
"""Names of files of weights, of diffusers and of transformers."""
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_HELD = 32 * 2**20
"""Bytes read from a file before it is mapped anew, so that dropped tensors need not stay in memory."""


_LOOKS, _LOOK = 4, 64
"""At how many places of a tensor `sampled` looks, and how many bytes there."""


class FileStamps:
    """Files as they stood when they were first looked at, by place, size and time: all that is read of them later must
    be of the same files, or two models would pass for one. A file may be absent, and must then stay so."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._stamps = {path: _stamp(path) for path in paths}

    def check(self, *paths: Path) -> None:
        """Raise a `FormatError` if one of these, or of all files, is another than it was."""
        for path in paths or self._stamps:
            if _stamp(path) != self._stamps[path]:
                raise FormatError(f"{path} is gone or was changed since the model was opened: open it again")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    with files.readable(path):
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class MappedWeights(Mapping[str, Tensor]):
    """The tensors of one or several safetensors files by their names, memory-mapped: nothing is copied until it is
    changed, and no more than a part of a file is held once its tensors have been let go.

    A pickled one is mapped anew where it is unpickled. Raises `FormatError` for files that are damaged, that both
    hold a tensor of one name, or that are no longer those whose names and shapes were read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._seen = FileStamps(paths)
        self.shapes: dict[str, tuple[str, list[int]]] = {}
        self._places: dict[str, Path] = {}
        self._open: dict[Path, tuple[Any, int]] = {}
        for path in paths:
            for key, shape in files.read_shapes(path).items():
                if key in self._places:
                    raise FormatError(
                        f"{path} and {self._places[key].name} both hold {quoted(key)}: shards that disagree"
                    )
                self.shapes[key], self._places[key] = shape, path

    def __getitem__(self, key: str) -> Tensor:
        path = self._places[key]
        with _undamaged(path):
            file, read = self._open.get(path) or (self._mapped(path), 0)
            tensor: Tensor = file.get_tensor(key)
        self._open[path] = file, read + tensor.nbytes
        if read + tensor.nbytes > _HELD:
            self._open.pop(path, None)  # another thread may have been here
        return tensor

    def check_whole(self) -> None:
        """Raise a `FormatError` for a file that is cut short or longer than its header says; no tensor is read."""
        for path in self.paths:
            with _undamaged(path):
                self._mapped(path)

    def _mapped(self, path: Path) -> Any:
        self._seen.check(path)
        with files.unicode_path(path) as name:
            return safe_open(name, "pt")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}}

    def __contains__(self, key: object) -> bool:
        return key in self._places  # a Mapping's own would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def check_same(self) -> None:
        """Raise a `FormatError` if the files are no longer those whose names and shapes were read."""
        self._seen.check()

    def sampled(self) -> str:
        """A SHA-256 over the names, types and shapes, and over a few numbers of each tensor: it keeps models
        apart without reading gigabytes, and misses a change of a few numbers."""
        seen: dict[str, bytes] = {}
        for path in self.paths:
            header = files.read_header(path)
            with open(path, "rb", buffering=0) as file:
                start = 8 + int.from_bytes(file.read(8), "little")
                for key in header.keys() - {"__metadata__"}:
                    begin, end = header[key]["data_offsets"]
                    looks = []
                    for nth in range(_LOOKS):
                        file.seek(start + begin + (end - begin) * nth // _LOOKS)
                        looks.append(file.read(min(_LOOK, end - begin - (end - begin) * nth // _LOOKS)))
                    seen[key] = b"".join(looks)
        digest = hashlib.sha256()
        for key in sorted(seen):
            digest.update(f"{key} {self.shapes[key]} ".encode() + seen[key])
        return digest.hexdigest()

    def types(self) -> Counter[str]:
        """How many numbers there are of each type, as safetensors names it: F32, F16, BF16 …"""
        counts: Counter[str] = Counter()
        for kind, shape in self.shapes.values():
            number = 1
            for side in shape:
                number *= side
            counts[kind] += number
        return counts


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """An error of safetensors about a file that it cannot read becomes a `FormatError`."""
    try:
        yield
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path} is damaged: {shortened(str(error), 160)}; copy or fetch it again") from error


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of the component in `folder`."""
    with files.readable(folder):
        names = [path.name for path in folder.iterdir() if path.is_file()]
    chosen = choose_weight_files(names)
    if not chosen:
        if pickled := sorted(name for name in names if name.endswith(PICKLED)):
            raise FormatError(pickle_refusal(folder / pickled[0]))
        raise FormatError(f"{folder} holds no weights in safetensors: copy or fetch it again")
    index = next((name for name in chosen if name.endswith(".json")), None)
    shards = [name for name in chosen if name != index]
    if index is not None:
        listed = files.read_json(folder / index).get("weight_map")
        if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
            raise FormatError(f"{folder / index} holds no weight_map from names to files")
        if absent := sorted(set(listed.values()) - set(names)):
            raise FormatError(f"{folder / index} names {quoted(absent[0])}, which is not there: copy or fetch it again")
        shards = sorted(set(listed.values()))
        found = {key: path.name for path in (folder / name for name in shards) for key in files.read_shapes(path)}
        if wrong := sorted(key for key in found.keys() | listed.keys() if found.get(key) != listed.get(key)):
            raise FormatError(
                f"{folder / index} and the shards disagree about {quoted(wrong[0])}: copy or fetch it again"
            )
    return [folder / name for name in shards]


def choose_weight_files(names: Collection[str]) -> list[str]:
    """The files with the weights among all of a folder: in full precision if they are there, else one variant.

    One file, or the shards and their index. Where there are both, the library decides that reads them there: diffusers
    takes the shards, and transformers the single file.
    """
    for stem in _STEMS:
        for variant in sorted(_variants(stem, names), key=lambda variant: (variant != "", variant != ".fp16", variant)):
            whole = [name for name in (f"{stem}{variant}.safetensors",) if name in names]
            index = [name for name in (f"{stem}.safetensors.index{variant}.json",) if name in names]
            sharded = [*index, *sorted(filter(_shard(stem, variant).fullmatch, names))] if index else []
            if chosen := (sharded or whole) if stem == _STEMS[0] else (whole or sharded):
                return chosen
    return []


def _variants(stem: str, names: Iterable[str]) -> set[str]:
    """The variants that there are of files of weights, as ".fp16"; "" is full precision."""
    single = rf"{stem}(\.\w+)?\.safetensors(?:\.index(\.\w+)?\.json)?"
    found = (re.fullmatch(single, name) for name in names)
    return {match[1] or match[2] or "" for match in found if match}


def _shard(stem: str, variant: str) -> re.Pattern[str]:
    """The names of shards: a variant stands before the number, and once stood after it."""
    variant = re.escape(variant)
    return re.compile(rf"{stem}(?:{variant}-\d+-of-\d+|-\d+-of-\d+{variant})\.safetensors")


def pickle_refusal(path: Path, opened: str = "DiffusionPipeline.from_pretrained(FOLDER, use_safetensors=False)") -> str:
    """Why a pickle is not read, and what to do: `opened` is the call by which the tool that wrote it reads it."""
    return (
        f"{path} is a pickle, which can run code, and is not read. If you trust where it came from, convert it once,"
        " with the tool that wrote it and on a machine that you can spare:"
        f" {opened}.save_pretrained(NEW_FOLDER)"
    )
