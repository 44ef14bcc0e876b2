"""Pictures in a .zip, read where they lie: nothing is ever extracted to disk."""

import posixpath
import re
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from sfumato.data.table import Table
from sfumato.data.tree import MAX_BYTES, Entry, from_tree, visible
from sfumato.errors import DataError
from sfumato.wording import printable

_ENCRYPTED = 0x1


def open_archive(path: str | Path) -> Table:
    """The pictures in a .zip of a folder; `from_tree` says how classes and captions are found.

    If everything lies in one folder (as when a folder itself was packed), that folder is not a class but the root.

    Raises DataError if it is no archive, holds no picture, or a member's name is absolute or climbs by '..'.
    """
    archive = open_zip(path)
    members = {_safe(info.filename, path): info for info in archive.infolist() if not info.is_dir()}
    members = {name: info for name, info in members.items() if visible(name)}
    cut = _wrapper(members)
    entries = [Entry(n[cut:], info.file_size, partial(_read, archive, info, n)) for n, info in members.items()]
    return from_tree(entries, str(path))


def open_zip(path: str | Path) -> zipfile.ZipFile:
    """The archive at `path`, its directory read. Raises DataError if it is none."""
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises many kinds on broken bytes
        raise DataError(f"{printable(str(path))}: expected a zip archive, came {error}; pack it again") from error


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> zipfile.ZipExtFile:
    """A member, to read as a stream that ends at its declared size, which is at most `limit` bytes.

    Raises DataError for a larger, an encrypted or an unusually compressed one: only Deflate expands in bounded steps.
    """
    problem = None
    if info.file_size > limit:
        problem = f"expected at most {limit:,} bytes, came {info.file_size:,}; take it out"
    elif info.flag_bits & _ENCRYPTED:
        problem = "expected no encryption, came an encrypted member; pack it without a password"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"expected Deflate or no compression, came method {info.compress_type}; pack it with Deflate"
    if problem:
        raise DataError(f"{printable(info.filename)}: {problem}")
    stream = archive.open(info)
    assert isinstance(stream, zipfile.ZipExtFile)
    return stream


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    try:
        with open_member(archive, info, MAX_BYTES) as stream:
            return stream.read()
    except DataError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds on broken bytes
        raise DataError(f"{printable(name)}: expected a whole member, came damaged data ({error})") from error


def _safe(name: str, path: str | Path) -> str:
    """The member's name in one spelling. Raises DataError if it leads out of the archive."""
    spelled = name.replace("\\", "/")
    if spelled.startswith("/") or re.match(r"[A-Za-z]:", spelled) or ".." in spelled.split("/"):
        refused = f"expected names below the archive's root, came {name!a}"
        raise DataError(f"{printable(str(path))}: {refused}; pack it again from a folder")
    return posixpath.normpath(spelled)


def _wrapper(names: Iterable[str]) -> int:
    """The length of the one folder that holds everything, with its '/'; 0 if there is none."""
    tops = {top + slash for top, slash, _ in (name.partition("/") for name in names)}
    top = tops.pop() if len(tops) == 1 else ""
    return len(top) if top.endswith("/") else 0
