"""`log.jsonl`: one line of JSON for each moment worth keeping."""

import json
from pathlib import Path
from typing import Any

from sfumato import files


class Log:
    """Appends to a run's log. Lines are whole; those after `step` are dropped when a run goes on from there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: Any) -> None:
        def act() -> None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

        files.guarded(self.path, act)

    def cut(self, step: int) -> None:
        """Keep only what happened up to `step`."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_bytes().splitlines() if _step(line) <= step]
        files.write_bytes(self.path, b"".join(line + b"\n" for line in kept))


def _step(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
