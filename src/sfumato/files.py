"""JSON and tensors in files: written whole or not at all, read without running anything."""

import contextlib
import hashlib
import json
import math
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from sfumato import serial
from sfumato.disk import open_file, replacing
from sfumato.errors import FormatError, SfumatoError, is_short, quoted
from sfumato.wording import QUOTED, shortened

if TYPE_CHECKING:
    from torch import Tensor

_ALIGNMENT = 64
"""Bytes, at multiples of which torch begins what it allocates."""
MOST_JSON = 16 * 2**20
MOST_HEADER = 16 * 2**20
MOST_TENSORS = 20_000
MOST_VALUES = 300_000
"""Values in one JSON, strings' insides apart: a tokenizer of CLIP has 200,000; each may take 200 bytes of memory."""
MOST_DEPTH = 64
MOST_DIGITS = 30
ENTRY = ("dtype", "shape", "data_offsets")
"""What a header says of a tensor."""


def write_bytes(path: Path, data: bytes, new: bool = False) -> None:
    """Write `data` to `path`, whole or not at all; with `new` only where nothing is, else `disk.Taken` is raised."""
    with replacing(path, len(data), new) as beside:
        beside.write_bytes(data)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON for people to read, whole or not at all. What is no Unicode, as in a path of other bytes,
    is escaped and comes back as it was."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))  # \udcff, which is how JSON spells it too


def read_json(path: Path, finite: bool = False) -> dict[str, Any]:
    """A JSON object from `path`; `FormatError` if it is not one, or is absurdly large: see `parse_json`."""
    with readable(path), open_file(path) as file:
        data = file.read(MOST_JSON + 1)
    if len(data) > MOST_JSON:
        raise FormatError(f"{path} is larger than {MOST_JSON // 2**20} MB: not a file of ours")
    return parse_json(data, str(path), finite)


def parse_json(data: bytes, name: str, finite: bool = False) -> dict[str, Any]:
    """A JSON object from bytes; `FormatError` naming `name` if it is not one, holds more values or is nested deeper
    than any file that is read here, or holds half of a surrogate pair, which could be neither shown nor written. NaN
    and the infinities, which JSON has not and other tools write, are refused where `finite`."""
    if _values(data) > MOST_VALUES:
        raise FormatError(f"{name} holds more than {MOST_VALUES:,} values: refused")
    numbers: dict[str, Any] = {"parse_float": _real, "parse_constant": _real} if finite else {}
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_int=_whole, **numbers)
        _check_depth(value)
        if b"\\ud" in data.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{name} holds half of a surrogate pair, which is no text: write the whole sign") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{name} should hold a JSON object, and holds a {type(value).__name__}")
    return value


STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)', re.DOTALL)


def _values(data: bytes) -> int:
    """At least how many values there are; exactly how many, where there may be too many."""
    rough = sum(map(data.count, (b",", b"[", b"{")))
    return rough if rough <= MOST_VALUES else sum(map(STRING.sub(b"", data).count, (b",", b"[", b"{")))


def _check_depth(value: Any) -> None:
    level = [[value]]
    for _ in range(MOST_DEPTH + 1):
        inner = (child for one in level for child in (one.values() if isinstance(one, dict) else one))
        if not (level := [child for child in inner if isinstance(child, dict | list)]):
            return
    raise ValueError(f"nested deeper than {MOST_DEPTH}")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _real(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:MOST_DIGITS]} is no finite number")
    return value


def write_tensors(
    path: Path,
    tensors: "Mapping[str, Tensor]",
    about: Mapping[str, Any] | None = None,
    plain: Mapping[str, str] | None = None,
) -> None:
    """Write tensors as safetensors, with `about` as JSON in the header, beside a hash of the tensors: the same content
    gives the same bytes. `plain` is put into the header as it is, for other tools."""
    ready = _ready(tensors)
    metadata = dict(plain) if plain is not None else None
    if about is not None:
        metadata = {
            **(plain or {}),
            "sfumato": json.dumps({"about": about, "sha256": content_sha256(ready)}, sort_keys=True),
        }
    size = sum(tensor.nbytes for tensor in ready.values())
    with replacing(path, size) as beside, open(beside, "wb") as file:
        file.writelines(serial.pieces(ready, metadata))


def tensors_sha256(tensors: "Mapping[str, Tensor]") -> str:
    """The SHA-256 of the file that `write_tensors` would write."""
    digest = hashlib.sha256()
    for piece in serial.pieces(_ready(tensors)):
        digest.update(piece)
    return digest.hexdigest()


def content_sha256(tensors: "Mapping[str, Tensor]", names: Collection[str] | None = None) -> str:
    """A SHA-256 over names, types, shapes and numbers: of all tensors, or of those of these names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors if names is None else names):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _ready(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Tensors in an order and a layout that do not depend on where they come from."""
    return {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """The tensors of a safetensors file, and the metadata that `write_tensors` was given ({} if none). Where there is
    metadata, the numbers are checked against its hash."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        with unicode_path(path) as name:
            tensors = load_file(name)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        if is_short(error):
            raise MemoryError(str(error)) from error
        raise FormatError(f"{path} is damaged: {shortened(str(error), 2 * QUOTED)}; restore it from a copy") from error
    metadata = header.get("__metadata__", {}).get("sfumato")
    if metadata is None:
        return tensors, {}
    note = parse_json(metadata.encode(), f"the header of {path}")
    if note.get("sha256") != content_sha256(tensors) or not isinstance(note.get("about"), dict):
        raise FormatError(f"{path} is damaged: its numbers do not match their hash; restore it from a copy")
    return tensors, note["about"]


def aligned(tensor: "Tensor") -> "Tensor":
    """The tensor where tensors are that are no part of a file: some kernels round otherwise where one begins at no
    multiple of 64 bytes, and a system that is read should draw what the one that was saved draws, to the bit."""
    return tensor if tensor.device.type != "cpu" or tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, bounded before it is parsed: names → type, shape and place."""
    with readable(path), open_file(path) as file:
        size = path.stat().st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MOST_HEADER, size - 8):
            raise FormatError(f"{path} is not a whole safetensors file ({size:,} bytes); restore it from a copy")
        data = file.read(length)
    if data.count(b'"data_offsets"') > MOST_TENSORS:
        raise FormatError(f"{path} names more than {MOST_TENSORS:,} tensors: refused")
    header = parse_json(data, f"the header of {path}")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"the header of {path} is damaged: its metadata should map names to text")
    return header


def read_shapes(path: Path) -> dict[str, tuple[str, list[int]]]:
    """The type and shape of each tensor in a safetensors file, from its header alone."""
    shapes: dict[str, tuple[str, list[int]]] = {}
    for name, entry in read_header(path).items():
        if name == "__metadata__":
            continue
        kind, shape, place = (entry.get(part) if isinstance(entry, dict) else None for part in ENTRY)
        if not (_is_kind(kind) and _is_shape(shape) and _is_place(place)):
            raise FormatError(f"the header of {path} is damaged: {quoted(name)} has no type, shape and place")
        shapes[name] = (kind, shape)
    return shapes


def _is_kind(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(r"[A-Z][A-Z0-9_]{0,15}", value) is not None


def _is_shape(value: Any) -> TypeGuard[list[int]]:
    return _sizes(value) and len(value) <= MOST_DEPTH and math.prod(value) < 2**63


def _is_place(value: Any) -> bool:
    return _sizes(value) and len(value) == 2 and value[0] <= value[1]


def _sizes(value: Any) -> bool:
    """Whether this is a list of numbers of bytes or of elements."""
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; `FormatError` if it cannot be read."""
    with readable(path), open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def unicode_path(path: Path) -> Iterator[str]:
    """The name of a file, for what opens only names of Unicode: of a path of other bytes, a name of the open file."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with open_file(path) as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


def absolute(name: str) -> str:
    """The absolute path of what is there, which a change of the working folder leaves as it is; any other name as it
    is."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


@contextlib.contextmanager
def readable(what: Path | str) -> Iterator[None]:
    """What the disk refuses in the block becomes a `FormatError` about the file, or about `what`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, SfumatoError):
            raise
        reason = error.strerror or str(error)
        raise FormatError(
            f"cannot read {error.filename or what}: {reason}; see that it is there, and yours to read"
        ) from error
