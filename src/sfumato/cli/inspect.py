"""`sfumato inspect`"""

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
    """Say what a picture or a system is. No weights are loaded."""
    from sfumato.cli.table import show

    show((name, _plain(value)) for name, value in _facts(what) if _says(value))


def _facts(what: str) -> list[tuple[str, Any]]:
    from sfumato.condition.clip.single_file import is_single
    from sfumato.errors import NotFoundError
    from sfumato.interop.diffusers.folder import is_checkpoint, is_hub_name
    from sfumato.interop.diffusers.inspect import describe_checkpoint
    from sfumato.library import refuse_pickle, shipped
    from sfumato.wording import brief

    where = Path(what)
    refuse_pickle(where)
    if is_single(what) or is_checkpoint(where):
        return describe_checkpoint(what)
    if where.exists() or what in shipped():
        return _picture(where) if where.is_file() and what not in shipped() else _system(what)
    if is_hub_name(what):
        return describe_checkpoint(what)
    raise NotFoundError(
        "expected a picture, the folder of a system, of a run or of a checkpoint of diffusers, or a name on the Hub,"
        f" came {brief(what)!r}, which does not exist"
    )


def _picture(path: Path) -> list[tuple[str, Any]]:
    from sfumato.system.repeat import obstacles
    from sfumato.system.samples import read_record

    record = read_record(path)
    lost = [("differs", f"{why}: without the same, another one is drawn") for why in obstacles(record)]
    return [*record.items(), ("again", _again(record)), *lost]


_OPTIONS = (
    *("model", "config", "prediction", "seed", "steps", "sampler", "spacing", "guidance", "interval", "rescale"),
    *("negative", "size", "precision", "image", "mask", "classifier", "class", "classifier-scale"),
)
"""The options of `sfumato generate` that a record has a value for."""


def _again(record: dict[str, Any]) -> str:
    """The command that draws the sample once more."""
    values = {"model": "DIR"} | record | _last(record)
    words = ["sfumato generate"]
    for option in _OPTIONS:
        if (value := values.get(option)) is not None:
            words.append(_option(option, _text(option, value)))
    words += _stage_options(record)
    if (prompt := record.get("prompt")) is not None:
        text = str(prompt)
        words.append(f"-- {_quoted(text)}" if text.startswith("-") else _quoted(text))
    return " ".join(words)


def _last(record: dict[str, Any]) -> dict[str, Any]:
    """The options that are the last stage's where a record is a cascade's: the files which its condition and guide were
    made of, and its precision."""
    stages = record.get("stages")
    last = stages[-1] if isinstance(stages, list) and stages and isinstance(stages[-1], dict) else record
    condition, guide = last.get("condition"), last.get("guide")
    found = {} if last is record else {"precision": last.get("precision")}
    for name in ("image", "mask"):
        file = condition.get(name) if isinstance(condition, dict) else None
        found[name] = file.get("path") if isinstance(file, dict) else None
    if isinstance(guide, dict):
        found |= {"classifier": guide.get("path"), "class": guide.get("class"), "classifier-scale": guide.get("scale")}
    return found


def _stage_options(record: dict[str, Any]) -> list[str]:
    """The options of each stage of a cascade."""
    from sfumato.system.stages import STAGE_OPTIONS

    stages = record.get("stages")
    return [
        f"--set {_quoted(f'{i}.{name}={_text(name, stage[name])}')}"
        for i, stage in enumerate(stages if isinstance(stages, list) else [])
        if isinstance(stage, dict)
        for name in STAGE_OPTIONS
        if stage.get(name) is not None
    ]


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


def _system(where: str) -> list[tuple[str, Any]]:
    from sfumato.library import find_system
    from sfumato.system.cascade import CASCADE_FILE, read_cascade

    folder = find_system(where)
    if not (folder / CASCADE_FILE).is_file():
        return _one_system(folder)
    spec = read_cascade(folder)
    stages = [
        (f"stage {i}, {name}", value)
        for i, stage in enumerate(spec.stages)
        for name, value in _one_system(folder / stage.folder)
    ]
    return [("cascade", str(folder)), ("links", list(spec.links)), *stages, ("about", spec.about)]


def _one_system(folder: Path) -> list[tuple[str, Any]]:
    from math import prod

    from sfumato.system.file import read_outline

    spec, paths, header = read_outline(folder)
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


def _says(value: Any) -> bool:
    """Whether a value says anything: what is left to a default or empty does not."""
    return value is not None and value != []


def _plain(value: Any) -> str:
    """A value as people write it: a part is its kind, and its settings but for those that are left open."""
    if isinstance(value, dict):
        kind = str(value.get("kind", ""))
        rest = ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if key != "kind" and _says(item))
        return f"{kind} ({rest})" if kind and rest else kind or rest
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return str(value)
