"""Format 2 of the folders of systems, classifiers and codecs: read here, to be written in the format of today."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.disk import replacing_folder
from sfumato.errors import FormatError
from sfumato.system import file as system_file

FOLDERS = ("system", "classifier", "codec")
"""The folders in that of a run, each with a table of its name."""

KEYS: dict[str, dict[str, str]] = {
    "unet": {"tokens": "context", "image": "concat"},
    "dit": {"tokens": "context", "image": "concat"},
    "clip": {"waves": "frequency_width"},
    "zero-terminal": {"of": "table", "remains": "terminal_alpha2"},
    "ve": {"law": "growth"},
    "flow": {"told": "time_input"},
    "euler": {"spread": "noise_scale"},
    "heun": {"spread": "noise_scale"},
    "distilled": {"of": "original_steps"},
    "discrete": {
        "times": "timestep_spacing",
        "offset": "steps_offset",
        "open": "drop_last",
        "whole": "round_times",
        "most": "num_timesteps",
        "noise": "sigmas",
        "ends": "sigma_range",
        "told": "time_input",
        "end": "final_sigma",
        "start": "initial_std",
    },
}
"""The keys of format 2 that have another name now, by the kind of part."""
VALUES: dict[tuple[str, str], dict[str, str]] = {
    ("discrete", "time_input"): {"cut": "floor"},
    ("discrete", "final_sigma"): {"clean": "zero", "first": "sigma_min"},
    ("discrete", "initial_std"): {"data": "marginal", "noise": "sigma"},
}
"""The values that have another name now, by the kind of part and today's key."""
SETTINGS = {"bound": "thresholding", "manners": "presets"}
"""The keys of the settings and of their presets."""
FREE = ("about", "digest", "weights")
"""The keys of a table that are not renamed within."""


def find_format2(where: str | Path) -> Path | None:
    """The table in format 2 of the system, classifier or codec in a folder, or in that of a run; None if there is none,
    or if it is in another format."""
    for folder in (Path(where), *(Path(where) / name for name in FOLDERS)):
        for name in FOLDERS:
            path = folder / f"{name}.json"
            if path.is_file():
                return path if files.read_json(path).get("format") == 2 else None
    return None


def convert(path: Path, out: Path) -> None:
    """Write what the table `path` describes to the new folder `out` in the format of today: its weights byte by byte.

    Raises a `FormatError` for what is damaged; then nothing is written.
    """
    table = upgraded(files.read_json(path, finite=True))
    with replacing_folder(out) as folder:
        for shard in system_file.read_outline(path.parent, path.name, table)[1]:
            shutil.copyfile(shard, folder / shard.name)
        files.write_json(folder / path.name, table)
        readers = {"system.json": system_file.read_system, "classifier.json": system_file.read_classifier}
        try:
            readers.get(path.name, system_file.read_codec)(folder)
        except FormatError as error:
            raise FormatError(str(error).replace(str(folder), str(path.parent))) from error


def upgraded(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of format 2 as one of today."""
    new = {key: value if key in FREE else _renamed(value) for key, value in table.items()}
    if "schedule" in new:  # of a system, all of which had Gaussian noise
        new = _after(new, "schedule", {"process": {"kind": "gaussian"}})
    if isinstance(settings := new.get("settings"), dict):
        new["settings"] = _settings(settings)
    return new | {"format": system_file.SYSTEM_FORMAT}


def _after(table: dict[str, Any], key: str, more: dict[str, Any]) -> dict[str, Any]:
    """The table with more entries after one of its keys."""
    place = list(table).index(key) + 1
    return dict([*list(table.items())[:place], *more.items(), *list(table.items())[place:]])


def _settings(table: dict[str, Any]) -> dict[str, Any]:
    new = {SETTINGS.get(key, key): value for key, value in table.items()}
    if isinstance(presets := new.get("presets"), dict):
        new["presets"] = {kind: _settings(one) if isinstance(one, dict) else one for kind, one in presets.items()}
    return new


def _renamed(value: Any) -> Any:
    """A part's table by today's names, and those of the parts within it."""
    if isinstance(value, list):
        return [_renamed(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    kind, names = str(value.get("kind", "")), KEYS.get(str(value.get("kind")), {})
    if kind == "pixels":
        return {"kind": "identity", "medium": {"kind": "image", "channels": value.get("channels", 3)}}
    new: dict[str, Any] = {names.get(str(key), str(key)): _renamed(one) for key, one in value.items()}
    for key, one in new.items():
        if isinstance(one, str):
            new[key] = VALUES.get((kind, key), {}).get(one, one)
    if kind == "dit":  # one that does not say its frequencies had those of diffusers
        new.setdefault("frequency_shift", 1.0)
    return new
