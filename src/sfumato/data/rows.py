"""Rows of metadata files: `metadata.jsonl`, `metadata.csv` and `metadata.json`."""

import csv
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any

from sfumato.errors import DataError
from sfumato.media import Medium
from sfumato.wording import QUOTED, brief, count, few, shortened

METADATA = ("metadata.csv", "metadata.json", "metadata.jsonl")
MAX_ROW = 2**20
# A list of them all is held at once: an empty object of three characters takes a hundred bytes.
MAX_VALUES = 400_000

_Row = tuple[str, dict[str, Any]]


def read_rows(text: str, kind: str, shown: str, medium: Medium) -> Iterator[_Row]:
    """The rows of a metadata file's `text`, each with its place for messages; `kind` is one of `METADATA`.

    Lines of JSON objects; CSV with a header; or one JSON list of objects, or one object that maps the names of files of
    the medium's endings to objects or captions. A JSON file in which nothing has a `file_name` has no rows: it may be
    of another use.

    Raises DataError, naming the file as `shown` and the line, for a file in none of these forms.
    """
    if kind == "metadata.csv":
        return _csv_rows(text, shown)
    return _json_lines(text, shown, medium) if kind == "metadata.jsonl" else _json_rows(text, shown, medium)


def _json_lines(text: str, shown: str, medium: Medium) -> Iterator[_Row]:
    line, last = 1, 0
    for found in re.finditer(r"\S[^\n]*", text):
        line, last = line + text.count("\n", last, found.start()), found.start()
        _check_length(found, f"{shown} line {line}")
        value = _parsed(found[0], shown, f" in line {line}", medium)
        yield f"{shown} line {line}", _object(value, f"{shown} line {line}", medium)


def _json_rows(text: str, shown: str, medium: Medium) -> Iterator[_Row]:
    values = sum(text.count(sign) for sign in ",[{")
    if values > MAX_VALUES:
        raise DataError(f"{shown}: expected at most {MAX_VALUES:,} values, came about {values:,}; use metadata.jsonl")
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        yield from _json_lines(
            text, shown, medium
        )  # many tools call a file of lines so, and errors have their line here
        return
    if isinstance(whole, dict) and "file_name" not in whole:
        for name, row in whole.items():
            if posixpath.splitext(name)[1].lower() in medium.endings:
                own = row if isinstance(row, dict) else {"text": row}
                yield f"{shown} '{brief(name)}'", own | {"file_name": name}
        return
    rows = whole if isinstance(whole, list) else [whole]
    if any(isinstance(row, dict) and "file_name" in row for row in rows):
        for i, row in enumerate(rows, start=1):
            yield f"{shown} row {i}", _object(row, f"{shown} row {i}", medium)


def _csv_rows(text: str, shown: str) -> Iterator[_Row]:
    reader = csv.reader(_lines(text, shown), strict=True, skipinitialspace=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in reader:
            place = f"{shown} line {line}"
            line = reader.line_num + 1
            if not any(fields):
                continue
            if header is None:
                header = _header(fields, place)
            elif len(fields) != len(header):
                hint = "put the caption in quotes" if len(fields) > len(header) else "give each row all of them"
                raise DataError(f"{place}: expected {count(len(header), 'field')}, came {len(fields)}; {hint}")
            else:
                yield place, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{shown} line {line}: expected fields with closed quotes, came {error}; mend or remove it"
        ) from error


def _lines(text: str, shown: str) -> Iterator[str]:
    for line, found in enumerate(re.finditer(r"[^\n]*\n|[^\n]+", text), start=1):
        _check_length(found, f"{shown} line {line}")
        yield found[0]


def _check_length(found: re.Match[str], place: str) -> None:
    if (length := found.end() - found.start()) > MAX_ROW:
        raise DataError(f"{place}: expected at most {MAX_ROW:,} characters, came {length:,}; shorten it")


def _header(fields: list[str], place: str) -> list[str]:
    header = [field.strip().casefold() for field in fields]
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise DataError(f"{place}: expected columns of names that differ, came '{few(twice[:1])}' twice; rename one")
    return header


def _parsed(part: str, shown: str, where: str, medium: Medium) -> object:
    try:
        return json.loads(part)
    except (ValueError, RecursionError) as error:
        came = f"came no JSON{where} ({shortened(str(error), QUOTED)})"
        raise DataError(f"{shown}: expected a row a {medium.noun}, {came}; mend or remove it") from error


def _object(row: object, place: str, medium: Medium) -> dict[str, Any]:
    if not isinstance(row, dict):
        wanted = f"expected 'file_name' with a {medium.noun}'s name"
        raise DataError(f"{place}: {wanted}, came {type(row).__name__}; write an object a row")
    return row
