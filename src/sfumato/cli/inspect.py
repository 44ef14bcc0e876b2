"""`sfumato inspect`"""

from pathlib import Path
from typing import Annotated, Any

import typer

_LISTS = ("differs", "not here")
"""Facts that are several, each on a line of its own."""
_MOST = 12
"""Items of a list that are shown; JSON has all."""
_FOREIGN = ("prompt", "negative", "seed", "steps", "guidance", "model")


def inspect(
    what: Annotated[
        str,
        typer.Argument(
            help="A picture that Sfumato or another tool drew; the folder of a system, a run or a checkpoint of"
            " diffusers; a name on the Hub; a single file of Stable Diffusion."
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what a picture or a system is. No weights are loaded.

    Of a picture that A1111, ComfyUI, InvokeAI or SwarmUI drew it says what can be drawn here likewise.
    """
    from sfumato.cli.table import show, show_json

    facts = [(name, value) for name, value in _facts(what) if _says(value)]
    if json:
        show_json(facts)
    else:
        show((name, _plain(value)) for fact in facts for name, value in _lines(*fact))


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
    from sfumato.cli.again import drawing_command
    from sfumato.errors import FormatError
    from sfumato.system.repeat import obstacles
    from sfumato.system.samples import read_record

    try:
        record = read_record(path)
    except FormatError as error:
        if facts := _foreign(path):
            return facts
        raise error
    lost = [f"{why}: without the same, another one is drawn" for why in obstacles(record)]
    return [*record.items(), ("again", drawing_command(record)), ("differs", lost)]


def _foreign(path: Path) -> list[tuple[str, Any]]:
    """What other tools wrote into a picture, and what of it can be drawn here; nothing of any other file."""
    from sfumato.cli.again import drawing_command
    from sfumato.interop.records import read_foreign, translated
    from sfumato.media import Image
    from sfumato.media.image import read_texts
    from sfumato.media.record import SOURCE
    from sfumato.parts import MEDIA

    if any(path.suffix.lower() in known.endings for known in MEDIA.kinds.values() if known is not Image):
        return []
    source = read_texts(path).get(SOURCE)
    if (found := read_foreign(path)) is None:
        return [] if source is None else [("picture", str(path)), ("source", source), ("record", "none is left")]
    options, lost = translated(found)
    held = {name: getattr(found, name) for name in _FOREIGN}
    sampler = [name for name in (found.sampler, found.spacing) if name is not None]
    facts = [("drawn by", found.tool), *held.items(), ("sampler", sampler), ("size", found.size and [*found.size])]
    return [*facts, ("also", found.further), ("source", source), ("here", drawing_command(options)), ("not here", lost)]


def _system(where: str) -> list[tuple[str, Any]]:
    from sfumato.library import find_system
    from sfumato.system.cascade import CASCADE_FILE, read_cascade

    folder = find_system(where)
    if not (folder / CASCADE_FILE).is_file():
        return [*_one_system(folder), *_page(folder.parent)]
    spec = read_cascade(folder)
    stages = [
        (f"stage {i}, {name}", value)
        for i, stage in enumerate(spec.stages)
        for name, value in _one_system(folder / stage.folder)
    ]
    return [("cascade", str(folder)), ("links", list(spec.links)), *stages, ("about", spec.about)]


def _page(run: Path) -> list[tuple[str, Any]]:
    """Where a run's page is, if that is what the folder is of."""
    page = run / "index.html"
    return [("page", str(page))] if (run / "run.json").exists() and page.exists() else []


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


def _lines(name: str, value: Any) -> list[tuple[str, Any]]:
    """A fact, or several of one name, each on a line of its own; the stages of a record are numbered."""
    if not isinstance(value, list) or name not in (*_LISTS, "stages"):
        return [(name, value)]
    return [(f"stage {i}" if name == "stages" else name, one) for i, one in enumerate(value)]


def _says(value: Any) -> bool:
    """Whether a value says anything: what is left to a default or empty does not."""
    return value is not None and value not in ([], {}, "")


def _plain(value: Any) -> str:
    """A value as people write it: a part is its kind, and its settings but for those that are left open."""
    if isinstance(value, dict):
        kind = str(value.get("kind", ""))
        rest = ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if key != "kind" and _says(item))
        return f"{kind} ({rest})" if kind and rest else kind or rest
    if isinstance(value, list):
        shown = ", ".join(_plain(item) for item in value[:_MOST])
        return shown if len(value) <= _MOST else f"{shown}, … {len(value):,} in all"
    return str(value)
