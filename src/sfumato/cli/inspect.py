"""`sfumato inspect`"""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer


def inspect(
    what: Annotated[
        str,
        typer.Argument(
            help="A picture that Sfumato drew; the folder of a system, a run or a checkpoint of diffusers; a name on"
            " the Hub; a single file of Stable Diffusion."
        ),
    ],
) -> None:
    """Say what made a picture, or what is in a system, without loading its weights."""
    from sfumato.cli.table import show

    show((name, _plain(value)) for name, value in _facts(what))


def _facts(what: str) -> list[tuple[str, Any]]:
    from sfumato.condition.clip_file import is_single
    from sfumato.errors import FormatError
    from sfumato.interop import folder
    from sfumato.interop.inspect import describe
    from sfumato.library import refuse_pickle, shipped

    where = Path(what)
    refuse_pickle(where)
    if is_single(what) or folder.is_checkpoint(where):
        return describe(what)
    if where.exists() or what in shipped():
        return _picture(where) if where.is_file() else _system(where)
    if folder.is_name(what):
        return describe(what)
    raise FormatError(f"there is no {what}")


def _picture(path: Path) -> list[tuple[str, Any]]:
    from sfumato.samples import read_record

    record = read_record(path)
    return [*record.items(), ("again", _again(record))]


def _again(record: dict[str, Any]) -> str:
    """The command that draws the picture once more."""
    prompt = record.get("prompt")
    words = ["sfumato generate --model DIR"]
    for option in (
        "seed",
        "steps",
        "sampler",
        "spacing",
        "guidance",
        "interval",
        "rescale",
        "negative",
        "size",
        "precision",
    ):
        value = record.get(option)
        if value is None:
            continue
        if isinstance(value, dict):
            value = _spelled(value)
        elif isinstance(value, list):
            value = ("x" if option == "size" else ",").join(str(item) for item in value)
        words.append(f"--{option} {shlex.quote(str(value))}")
    if prompt is not None:
        words.append(f"-- {shlex.quote(str(prompt))}" if str(prompt).startswith("-") else shlex.quote(str(prompt)))
    return " ".join(words)


def _spelled(part: dict[str, Any]) -> str:
    """A part as `--sampler` reads it."""
    if any(isinstance(value, dict | list) for value in part.values()):
        return json.dumps(part)
    return ",".join([str(part.get("kind")), *(f"{k}={v}" for k, v in part.items() if k != "kind")])


def _system(where: Path) -> list[tuple[str, Any]]:
    from math import prod

    from sfumato.library import find
    from sfumato.system_file import describe

    folder = find(where)
    spec, paths, header = describe(folder)
    count = sum(prod(shape) for _, shape in header.values())
    types = ", ".join(sorted({kind for kind, _ in header.values()}))
    there = paths[0].name if len(paths) == 1 else f"{len(paths)} files"
    size = (
        f"{count / 1e6:.2f}M parameters, {types}, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB in {there}"
    )
    return [
        ("system", str(folder)),
        ("weights", size),
        *((k, v) for k, v in spec.items() if k not in ("weights", "digest")),
    ]


def _plain(value: Any) -> str:
    """A value as people write it: a part is its kind and settings."""
    if isinstance(value, dict):
        kind = str(value.get("kind", ""))
        rest = ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if key != "kind")
        return f"{kind} ({rest})" if kind and rest else kind or rest
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return str(value)
