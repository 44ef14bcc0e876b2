"""Names of the files of samples."""

from typing import Any

from sfumato.media.protocol import Record


def stem(record: Record) -> str:
    """A sample's prompt and seed as the name of its file: names are counted in bytes."""
    start = "-".join(_words(record.get("prompt"))).encode()[:100].decode(errors="ignore").rstrip("-")
    seed = "".join(_words(record.get("seed")))[:40] or "0"
    return f"{start}-{seed}" if start else seed


def _words(value: Any) -> list[str]:
    """A value as words that a file's name may hold."""
    return "".join(c if c.isalnum() else " " for c in str(value if value is not None else "")).split()
