"""`history.json`: the sittings of a run, from where to where each came and how it ended."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.errors import FormatError

Sitting = dict[str, Any]
"""When a sitting `began` and `ended`, `from` which step `to` which, on which `machine`, and its `end` in words; what is
not known, as of one that was killed, is left out."""

MOST_SITTINGS = 1000


def read_history(path: Path) -> list[Sitting] | None:
    """The sittings on record, the first one first, none where there is no file; None where what is there is damaged, or
    is not ours."""
    with suppress(FormatError, OSError):
        if not path.exists():
            return []
        if isinstance(found := files.read_json(path).get("sittings"), list):
            return [one for one in found if isinstance(one, dict)][-MOST_SITTINGS:]
    return None


def write_history(path: Path, sittings: list[Sitting]) -> None:
    files.write_json(path, {"sittings": sittings})


def now() -> str:
    """The time in the machine's own zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
