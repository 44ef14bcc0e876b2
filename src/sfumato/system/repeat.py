"""From a record back to the drawing that it repeats."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sfumato import files
from sfumato.errors import InputError, SfumatoError, quoted
from sfumato.media.protocol import Record
from sfumato.parts import SAMPLERS, SPACINGS
from sfumato.system import file as system_file
from sfumato.system.classifier import CLASSIFIER, NoisyClassifier, classifier_folder
from sfumato.system.drawing import Drawing
from sfumato.system.masked import AS_IT_IS, MASKED, ConditioningImage, MaskedImage, picture_sha256

_PLAIN = ("steps", "guidance", "rescale", "negative")
"""The arguments of a drawing that stand in a record as they are."""
_FILES = {MASKED: ("image", "mask"), AS_IT_IS: ("image",)}
"""The files that a condition was made of, by its kind."""


def from_record(record: Record, device: str | torch.device | None = None) -> Drawing:
    """The drawing of a sample's record: `system.generate(**from_record(record))` draws it again.

    A classifier is loaded from its folder, to `device`. Raises an `InputError` where the record does not hold what the
    sample was drawn with, or what it names is gone or has changed: see `obstacles`.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"a record is a table, as read_record gives, not {quoted(record)}")
    if why := obstacles(record):
        raise InputError(f"this sample cannot be drawn again: {why[0]}")
    try:
        stages = record.get("stages")
        drawing = _options(record, device) if stages is None else Drawing(stages=[_options(s, device) for s in stages])
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"this record is damaged: {type(error).__name__}: {error}") from error
    drawing |= {"prompt": record.get("prompt"), "seeds": [record.get("seed", 0)]}
    return drawing


def threads_of(record: Record) -> int | None:
    """How many threads of the CPU drew the sample of a record; None where it does not say."""
    stages = record.get("stages")
    last = stages[-1] if isinstance(stages, list) and stages and isinstance(stages[-1], Mapping) else record
    return last.get("threads")


def _options(record: Mapping[str, Any], device: str | torch.device | None) -> Drawing:
    """The arguments but for prompt and seed."""
    drawing = Drawing(**{name: record[name] for name in _PLAIN if record.get(name) is not None})
    if (size := record.get("size")) is not None:
        drawing["size"] = tuple(size)
    if (interval := record.get("interval")) is not None:
        drawing["interval"] = (interval[0], interval[1])
    if (sampler := record.get("sampler")) is not None:
        drawing["sampler"] = SAMPLERS.load(sampler)
    if (spacing := record.get("spacing")) is not None:
        drawing["spacing"] = SPACINGS.load(spacing)
    if (guide := record.get("guide")) is not None:
        drawing["guide"] = NoisyClassifier.load(guide["path"], str(device) if device is not None else None).guide(
            guide["class"], guide["scale"]
        )
    if (condition := record.get("condition")) is not None:
        paths = [condition[name]["path"] for name in _FILES[condition["kind"]]]
        drawing["condition"] = MaskedImage(*paths) if condition["kind"] == MASKED else ConditioningImage(*paths)
    return drawing


def obstacles(record: Record) -> list[str]:
    """Why the sample of a record cannot be drawn again: what no record holds, or a file that is gone or has changed."""
    if isinstance(stages := record.get("stages"), list):
        return [why for stage in stages if isinstance(stage, dict) for why in _lost(stage)]
    return _lost(record)


def _lost(record: Mapping[str, Any]) -> list[str]:
    """The obstacles of the record of one system."""
    found = []
    if (guide := record.get("guide")) is not None:
        found.append(_classifier_lost(guide) if _is(guide, CLASSIFIER) else _in_python("guide", guide))
    if (condition := record.get("condition", record.get("beside"))) is not None:
        known = any(_is(condition, kind) for kind in _FILES)
        found.append(_pictures_lost(condition) if known else _in_python("condition", condition))
    return [why for why in found if why]


def _in_python(name: str, value: Any) -> str:
    return f"its {name} was given in Python, and the record holds no more of it than {quoted(value)}"


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, Mapping) and value.get("kind") == kind


def _classifier_lost(guide: Mapping[str, Any]) -> str:
    """Why the classifier of a record's guide is not to be had; "" if it is."""
    path = guide.get("path")
    if not isinstance(path, str):
        return "its classifier was not loaded from a folder, or was changed since"
    try:
        with files.readable(path):
            found = system_file.saved_fingerprint(classifier_folder(path), system_file.CLASSIFIER_FILE)
    except SfumatoError as error:
        return f"its classifier is gone: {error}"
    return "" if found == guide.get("fingerprint") else f"its classifier in {quoted(path)} has changed since"


def _pictures_lost(condition: Mapping[str, Any]) -> str:
    """Why a file of a record's condition is not to be had; "" if all are."""
    for name in _FILES[condition["kind"]]:
        file = condition.get(name)
        path = file.get("path") if isinstance(file, Mapping) else None
        if not isinstance(file, Mapping) or not isinstance(path, str):
            return f"its {name} is not named"
        try:
            found = picture_sha256(Path(path))
        except SfumatoError as error:
            return f"its {name} is gone: {error}"
        if found != file.get("sha256"):
            return f"its {name} {quoted(path)} has changed since"
    return ""
