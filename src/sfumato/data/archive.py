"""Data in a .zip, read where they lie: nothing is ever extracted to disk."""

import os
import posixpath
import re
import struct
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfumato.data.captions import TEXT_ENDINGS
from sfumato.data.table import TableSource
from sfumato.data.tree import FileEntry, from_tree, visible
from sfumato.disk import open_file
from sfumato.errors import DataError
from sfumato.media import Medium
from sfumato.wording import QUOTED, brief, shortened

_ENCRYPTED = 0x1
_UTF8 = 0x800
_TIGHTEST = 100
_SMALL = 2**16


def open_archives(paths: Sequence[str | Path], medium: Medium, where: str, notes: Sequence[str] = ()) -> TableSource:
    """The medium's data in .zip files, as if all were unpacked into one folder; see `from_tree` for classes and
    captions. Each member is read from its archive when it is asked for, one file open at a time.

    If everything lies in one folder (as when a folder itself was packed), that folder is not a class but the root.

    Raises DataError for a file that is no archive, for no datum at all, for a member whose name is absolute or climbs
    by '..', and for one name in two archives.
    """
    members: dict[str, _Member] = {}
    for path in paths:
        for name, info in _members(path).items():
            if name in members and members[name].path != path:
                both = f"{brief(str(members[name].path))} and {brief(str(path))}"
                raise DataError(f"{both}: expected every name once, came {brief(name)} in both; pack it in one of them")
            members[name] = _Member(path, info, name)
    cut = _wrapper(members)
    return from_tree([FileEntry(n[cut:], one.info.file_size, one) for n, one in members.items()], where, medium, notes)


def _members(path: str | Path) -> dict[str, zipfile.ZipInfo]:
    """The visible files in an archive, by their names in one form."""
    with open_zip(path) as archive:
        members = {_safe(_spelled(info), path): info for info in archive.infolist() if not _is_folder(info)}
    return {name: info for name, info in members.items() if visible(name)}


@dataclass(frozen=True)
class _Member:
    """Reads a member: the archive is opened anew, so that no two processes and no two threads share a place in it."""

    path: str | Path
    info: zipfile.ZipInfo
    name: str

    def __call__(self, limit: int) -> bytes:
        if posixpath.splitext(self.name)[1].lower() in TEXT_ENDINGS:  # no text is packed as tightly as a bomb
            limit = min(limit, max(_SMALL, _TIGHTEST * self.info.compress_size))
        try:
            with open_member(self.path, self.info, limit) as stream:
                return stream.read()
        except DataError:
            raise
        except Exception as error:  # zipfile and zlib raise many kinds on broken bytes
            reason = shortened(str(error), QUOTED)
            raise DataError(f"{brief(self.name)}: expected a whole member, came damaged data ({reason})") from error


def open_zip(path: str | Path) -> zipfile.ZipFile:
    """The archive at `path`, its directory read. Raises DataError if it is none."""
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises many kinds on broken bytes
        raise DataError(
            f"{brief(str(path))}: expected a zip archive, came {shortened(str(error), QUOTED)}; pack it again"
        ) from error


def open_member(path: str | Path, info: zipfile.ZipInfo, limit: int) -> zipfile.ZipExtFile:
    """A member of the archive at `path`, to read as a stream that ends at its declared size, which is at most `limit`
    bytes.

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
        raise DataError(f"{brief(info.filename)}: {problem}")
    file = open_file(path)
    try:
        file.seek(info.header_offset)
        start, name, extra = struct.unpack("<4s22xHH", file.read(30))  # the file format's local header
        if start != b"PK\x03\x04":
            raise zipfile.BadZipFile("no member where the directory has one")
        file.seek(name + extra, os.SEEK_CUR)
        return zipfile.ZipExtFile(file, "r", info, close_fileobj=True)
    except BaseException:
        file.close()
        raise


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(("/", "\\")) and info.file_size == 0


def _spelled(info: zipfile.ZipInfo) -> str:
    """The member's name; as UTF-8 where its bytes are that, which many packers write and do not flag."""
    if info.flag_bits & _UTF8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _safe(name: str, path: str | Path) -> str:
    """The member's name in one form. Raises DataError if it leads out of the archive or is none."""
    spelled = name.replace("\\", "/")
    leads_out = spelled.startswith("/") or re.match(r"[A-Za-z]:", spelled) or ".." in spelled.split("/")
    if leads_out or not spelled:
        refused = f"expected names below the archive's root, came {brief(ascii(name))}"
        raise DataError(f"{brief(str(path))}: {refused}; pack it again from a folder")
    return posixpath.normpath(spelled)


def _wrapper(names: Iterable[str]) -> int:
    """The length of the one folder that holds everything, with its '/'; 0 if there is none."""
    tops = {top + slash for top, slash, _ in (name.partition("/") for name in names)}
    top = tops.pop() if len(tops) == 1 else ""
    return len(top) if top.endswith("/") else 0
