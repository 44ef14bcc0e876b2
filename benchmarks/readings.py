"""What was read of pictures, kept in a file of JSON lines as it comes, so that a run that was killed goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfumato.errors import FormatError

Row = Mapping[str, Any]


class Readings:
    """The rows of a file, each under its key (a text that says what was read); a row cut short at the end, as a kill
    leaves it, is taken off. Raises a `FormatError` for a file of anything else."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._rows = path, {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        for number, line in enumerate(whole, start=1):
            try:
                row = json.loads(line)
                self._rows[row["key"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise FormatError(f"line {number} of {path} is no reading: remove the file to read anew") from error
        if len(whole) < len(lines):
            path.write_bytes(b"".join(whole))

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> Row:
        return self._rows[key]

    def add(self, key: str, row: Row) -> None:
        """Keep a row, on the disk too."""
        self._rows[key] = row = {"key": key, **row}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
