"""What a file holds beside its datum: the record that repeats it, and the mark of what made it."""

from collections.abc import Mapping
from typing import Any, get_args

from sfumato.errors import InputError, nearest, quoted
from sfumato.media.protocol import Keep, Record

_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = f"{_TYPES}trainedAlgorithmicMedia"
COMPOSITE = f"{_TYPES}compositeWithTrainedAlgorithmicMedia"
"""Terms of the IPTC's vocabulary of digital source types."""


def pick_metadata(record: Record, keep: Keep) -> tuple[Record | None, str | None]:
    """What is written of a sample's record, and its `source_type`; None is left out. An `InputError` unless `keep` is
    "full", "source" or "none"."""
    keep = check_keep(keep)
    return record if keep == "full" else None, None if keep == "none" else source_type(record)


def check_keep(keep: str) -> Keep:
    """The same word, if it is one of `Keep`; else an `InputError`."""
    for known in get_args(Keep):
        if keep == known:
            return known
    raise InputError(f"there is no metadata {quoted(keep)}; {nearest(str(keep)[:100], get_args(Keep))}")


def source_type(record: Record) -> str:
    """The digital source type of a sample: `COMPOSITE` where it was painted into a picture, else `TRAINED`."""
    stages = record.get("stages")
    return COMPOSITE if any(map(_edits, [record, *(stages if isinstance(stages, list) else [])])) else TRAINED


def _edits(record: Any) -> bool:
    """Whether the condition of a record is made of a picture in a file."""
    condition = record.get("condition") if isinstance(record, Mapping) else None
    return isinstance(condition, Mapping) and isinstance(condition.get("image"), Mapping)
