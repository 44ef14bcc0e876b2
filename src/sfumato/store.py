"""Weights on disk, each read when it is asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sfumato import files
from sfumato.errors import FormatError

HELD = 256 * 2**20
"""Bytes read from a file before it is mapped anew, so that what was read and dropped need not stay in memory."""


class Weights(Mapping[str, Tensor]):
    """The tensors of one or several safetensors files by their names, memory-mapped: nothing is copied until it is
    changed, and no more than a part of a file is held once its tensors have been let go.

    Raises `FormatError` for files that are damaged, or that both hold a tensor of one name.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.shapes: dict[str, tuple[str, list[int]]] = {}
        self._places: dict[str, Path] = {}
        self._open: dict[Path, tuple[Any, int]] = {}
        for path in paths:
            for key, shape in files.read_shapes(path).items():
                if key in self._places:
                    raise FormatError(f"{path} and {self._places[key].name} both hold '{key}': shards that disagree")
                self.shapes[key], self._places[key] = shape, path

    def __getitem__(self, key: str) -> Tensor:
        path = self._places[key]
        try:
            file, read = self._open.get(path) or (safe_open(path, "pt"), 0)
            tensor: Tensor = file.get_tensor(key)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise FormatError(f"{path} is damaged: {error}; copy or fetch it again") from error
        self._open[path] = file, read + tensor.nbytes
        if read + tensor.nbytes > HELD:
            del self._open[path]
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def types(self) -> Counter[str]:
        """How many numbers there are of each type, as safetensors names it: F32, F16, BF16 …"""
        counts: Counter[str] = Counter()
        for kind, shape in self.shapes.values():
            number = 1
            for side in shape:
                number *= side
            counts[kind] += number
        return counts
