"""Files that appear whole or not at all, and tensors read without running anything.

Writing goes beside the target, is flushed to the disk, and is renamed over it: a crash or a full disk leaves the old
file as it was.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import FormatError, StorageError

if TYPE_CHECKING:
    from torch import Tensor

MOST_JSON = 16 * 2**20
MOST_HEADER = 16 * 2**20
MOST_TENSORS = 50_000


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it replaces `path` when the block ends well, and is removed when not.

    Raises `StorageError` for a full disk, a missing permission or a missing folder.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to write into; it becomes `path`, which is not there yet or is empty, when the block
    ends well, and is removed with all that is in it when not.

    Raises `StorageError` as `replacing` does.
    """
    path = path.absolute()
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.mkdir(parents=True)
        yield beside
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()
        os.replace(beside, path)
        _flush_folder(path.parent)
    except StorageError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def unwritable(path: Path, error: OSError) -> StorageError:
    """What to tell someone whose file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(existing(path.parent)).free
        return StorageError(f"no space to write {path}: {free / 1e6:,.1f} MB free; what was there before is untouched")
    reason = error.strerror or str(error)
    return StorageError(f"cannot write {path}: {reason}; choose a folder that you may write to")


def clear_parts(folder: Path) -> None:
    """Remove what writers that were killed left below `folder`."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raise a `StorageError` if files could not be written to `folder`, which need not exist yet; changes nothing."""
    place = existing(folder)
    if not place.is_dir():
        raise unwritable(folder, NotADirectoryError(errno.ENOTDIR, f"{place} is a file, not a folder"))
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(folder, PermissionError(errno.EACCES, "permission denied"))


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as beside:
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
    with replacing(path) as beside:
        beside.touch()
        mode = beside.stat().st_mode  # as any new file has it: safetensors makes one that its owner alone can read
        try:
            save_file(ready, beside, metadata=metadata)
            with contextlib.suppress(PermissionError):  # where there are no modes
                beside.chmod(mode)
        except OSError:
            raise
        except Exception as error:  # safetensors reports a full disk as its own error, without an errno
            free = shutil.disk_usage(path.parent).free
            needed = sum(tensor.nbytes for tensor in ready.values())
            code = errno.ENOSPC if free < needed else errno.EIO
            raise OSError(code, f"{error} ({needed / 1e6:,.1f} MB needed)") from error


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


def guarded(path: Path, act: Callable[[], object]) -> None:
    """Do something to the disk; an OSError becomes a `StorageError` about `path`."""
    try:
        act()
    except OSError as error:
        raise unwritable(path, error) from error


def _flush_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
