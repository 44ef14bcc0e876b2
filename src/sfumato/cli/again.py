"""From a sample's record to the command that draws it."""

import shlex
from typing import Any

DRAWN_BY = (
    *("model", "config", "prediction", "seed", "steps", "sampler", "spacing", "guidance", "interval", "rescale"),
    *("negative", "size", "precision", "threads", "image", "mask", "classifier", "class", "classifier-scale"),
)
"""The options of `sfumato generate` that a record has a value for."""


def drawing_command(record: dict[str, Any]) -> str:
    """The command that draws the sample once more. Settings that the system has by itself, where it is found here, are
    left out."""
    own, stages = _own_settings(record), record.get("stages")
    staged = isinstance(stages, list)
    values = {"model": "DIR"} | (record if staged else _beyond(record, own, 0)) | _last(record)
    words = ["sfumato generate"]
    for option in DRAWN_BY:
        if (value := values.get(option)) is not None:
            words.append(_option(option, _text(option, value)))
    words += _stage_options(stages, own) if staged else []
    if (prompt := record.get("prompt")) is not None:
        text = str(prompt)
        words.append(f"-- {_quoted(text)}" if text.startswith("-") else _quoted(text))
    return " ".join(words)


def _last(record: dict[str, Any]) -> dict[str, Any]:
    """The options that are the last stage's where a record is a cascade's: the files which its condition and guide were
    made of, its precision and the number of threads."""
    stages = record.get("stages")
    last = stages[-1] if isinstance(stages, list) and stages and isinstance(stages[-1], dict) else record
    condition, guide = last.get("condition"), last.get("guide")
    found = {} if last is record else {name: last.get(name) for name in ("precision", "threads")}
    for name in ("image", "mask"):
        file = condition.get(name) if isinstance(condition, dict) else None
        found[name] = file.get("path") if isinstance(file, dict) else None
    if isinstance(guide, dict):
        found |= {"classifier": guide.get("path"), "class": guide.get("class"), "classifier-scale": guide.get("scale")}
    return found


def _stage_options(stages: list[Any], own: list[dict[str, Any]]) -> list[str]:
    """The options of each stage of a cascade."""
    from sfumato.system.stages import STAGE_OPTIONS

    given = [_beyond(stage, own, i) if isinstance(stage, dict) else {} for i, stage in enumerate(stages)]
    return [
        f"--set {_quoted(f'{i}.{name}={_text(name, stage[name])}')}"
        for i, stage in enumerate(given)
        for name in STAGE_OPTIONS
        if stage.get(name) is not None
    ]


def _beyond(record: dict[str, Any], own: list[dict[str, Any]], stage: int) -> dict[str, Any]:
    """The record of a stage without the settings that are its system's own. Beside another sampler all stay, for a
    system may have some for each."""
    known = own[stage] if stage < len(own) else {}
    if record.get("sampler") != known.get("sampler"):
        return record
    return {name: value for name, value in record.items() if name not in known or value != known[name]}


def _own_settings(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of each stage of the system that a record names, if that is found, and still the same; else none."""
    from sfumato.errors import SfumatoError
    from sfumato.library import find_system
    from sfumato.system.cascade import saved_stages
    from sfumato.system.file import read_spec

    try:
        fingerprint, folders = saved_stages(find_system(str(record.get("model"))))
        known = [read_spec(folder).get("settings") for folder in folders] if fingerprint == record.get("system") else []
    except (SfumatoError, OSError):
        return []
    return [settings if isinstance(settings, dict) else {} for settings in known]


def _option(name: str, text: str) -> str:
    """An option as a shell takes it: a text that begins as an option does is joined to its name."""
    return f"--{name}{'=' if text.startswith('-') else ' '}{_quoted(text)}"


def _quoted(text: str) -> str:
    """A text as a shell reads it, on one line: what does not print is spelled as bash, zsh and others know it."""
    if text.isprintable():
        return shlex.quote(text)
    signs = (f"\\{c}" if c in "'\\" else c if c.isprintable() else rf"\U{ord(c):08x}" for c in text)
    return f"$'{''.join(signs)}'"


def _text(option: str, value: Any) -> str:
    """A value of a record as its option reads it."""
    from sfumato.parts import spell_table

    if isinstance(value, dict):
        return spell_table(value)
    if isinstance(value, list):
        return ("x" if option == "size" else ",").join(str(item) for item in value)
    return str(value)
