"""JSON and tensors in files: written whole or not at all, read without running anything."""

import contextlib
import errno
import hashlib
import json
import shutil
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.disk import replacing
from sfumato.errors import FormatError

if TYPE_CHECKING:
    from torch import Tensor

MOST_JSON = 16 * 2**20
MOST_HEADER = 16 * 2**20
MOST_TENSORS = 50_000


def write_bytes(path: Path, data: bytes, new: bool = False) -> None:
    """Write `data` to `path`, whole or not at all; with `new` only where nothing is, else `disk.Taken` is raised."""
    with replacing(path, len(data), new) as beside:
        beside.write_bytes(data)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON for people to read, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from `path`; `FormatError` if it is not one, or is absurdly large."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_JSON + 1)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MOST_JSON:
        raise FormatError(f"{path} is larger than {MOST_JSON // 2**20} MB: not a file of ours")
    return parse_json(data, str(path))


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object from bytes; `FormatError` naming `name` if it is not one."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{name} should hold a JSON object, and holds a {type(value).__name__}")
    return value


def write_tensors(
    path: Path,
    tensors: "Mapping[str, Tensor]",
    about: Mapping[str, Any] | None = None,
    plain: Mapping[str, str] | None = None,
) -> None:
    """Write tensors as safetensors, with `about` as JSON in the header, beside a hash of the tensors: the same content
    gives the same bytes. `plain` is put into the header as it is, for other tools."""
    from safetensors.torch import save_file

    ready = _ready(tensors)
    metadata = dict(plain) if plain is not None else None
    if about is not None:
        metadata = {
            **(plain or {}),
            "sfumato": json.dumps({"about": about, "sha256": content_sha256(ready)}, sort_keys=True),
        }
    size = sum(tensor.nbytes for tensor in ready.values())
    with replacing(path, size) as beside:
        mode = beside.stat().st_mode  # as any new file has it: safetensors makes one that its owner alone can read
        try:
            save_file(ready, beside, metadata=metadata)
            with contextlib.suppress(PermissionError):  # where there are no modes
                beside.chmod(mode)
        except OSError:
            raise
        except Exception as error:  # safetensors reports a full disk as its own error, without an errno
            full = "os error 28" in str(error) or shutil.disk_usage(path.parent).free < size
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def tensors_sha256(tensors: "Mapping[str, Tensor]") -> str:
    """The SHA-256 of the file that `write_tensors` would write."""
    from safetensors.torch import save

    return hashlib.sha256(save(_ready(tensors))).hexdigest()


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
    """The tensors of a safetensors file, and what `write_tensors` was told about them ({} if nothing). If it was told
    anything, the numbers are checked against their hash."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged: {error}; restore it from a copy") from error
    said = header.get("__metadata__", {}).get("sfumato")
    if said is None:
        return tensors, {}
    note = parse_json(said.encode(), f"the header of {path}")
    if note.get("sha256") != content_sha256(tensors) or not isinstance(note.get("about"), dict):
        raise FormatError(f"{path} is damaged: its numbers do not match their hash; restore it from a copy")
    return tensors, note["about"]


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, bounded before it is parsed: names → type, shape and place."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MOST_HEADER, size - 8):
                raise FormatError(f"{path} is not a whole safetensors file ({size:,} bytes); restore it from a copy")
            data = file.read(length)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error
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
        kind, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(shape, list) or not all(type(side) is int for side in shape):
            raise FormatError(f"the header of {path} is damaged: '{name}' has no type and shape")
        shapes[name] = (kind, shape)
    return shapes


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
