"""Records as text, within the files of a medium or beside them."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from sfumato.errors import FormatError, InputError, nearest, quoted
from sfumato.files import parse_json, read_json, sha256
from sfumato.media.protocol import Medium, Record
from sfumato.wording import well_formed

KEY = "sfumato"
"""The key of a record among a file's other metadata."""
SOURCE = "DigitalSourceType"
"""That of the digital source type, where a format has no place of its own for it; as the IPTC names it."""
MOST_RECORD = 2 * 2**20
"""The most bytes of a file in which a record is looked for."""


def record_text(record: Record, ascii: bool = False) -> str:
    """A record as JSON on one line, in well-formed Unicode; with `ascii` all else of it is escaped."""
    text = well_formed(json.dumps(record, ensure_ascii=False))
    return json.dumps(json.loads(text)) if ascii else text


def parse_record(text: object, path: Path) -> Record:
    """The record that `record_text` wrote; a `FormatError` if `text` is none, as where a file holds nothing of ours."""
    if not isinstance(text, str):
        raise FormatError(f"{path} carries no record of Sfumato's: it was drawn by something else, or was edited since")
    return parse_json(text.encode(), f"the record in {path}")


def beside_bytes(record: Record | None, source: str | None, data: bytes) -> bytes:
    """The file that holds a record and a digital source type beside another file, of these bytes, in which there is no
    room for them."""
    held: dict[str, Any] = {} if record is None else {KEY: json.loads(record_text(record))}
    held |= {} if source is None else {SOURCE: source}
    return f"{json.dumps(held | {'sha256': hashlib.sha256(data).hexdigest()}, indent=2)}\n".encode()


def read_beside(path: Path) -> Record:
    """The record that lies in `path` and ".json" beside `path`; a `FormatError` where there is none, or one of other
    bytes than those in `path`."""
    digest, beside = sha256(path), path.with_name(f"{path.name}.json")
    found = read_json(beside) if os.path.lexists(beside) else {}
    record = found.get(KEY)
    return record if isinstance(record, dict) and found.get("sha256") == digest else parse_record(None, path)


def pick_format(medium: Medium, format: str | None) -> str:
    """The format of a file to write: one of the medium's, its first if None; an `InputError` for any other."""
    if format is None:
        return medium.formats[0]
    if format not in medium.formats:
        hint = nearest(str(format)[:100], medium.formats)
        raise InputError(f"{medium.plural} cannot be written as {quoted(format)}; {hint}")
    return format
