"""`sfumato models`"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sfumato.interop.diffusers.folder import Checkpoint

_COLUMNS = ("name", "family", "parameters", "megabytes", "reads", "draws")
_STABLE = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""By the width of the texts that the network sees."""


@dataclass(frozen=True)
class _Model:
    """A line: the name as --model takes it; `parameters` in millions. `error` of one that cannot be opened."""

    name: str
    family: str = ""
    parameters: float | None = None
    megabytes: float | None = None
    reads: str = ""
    draws: str = ""
    error: str = ""


def models(
    folder: Annotated[
        list[Path] | None, typer.Option(help="Look here, too; may be given again.", metavar="DIR")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object of JSON a line.")] = False,
) -> None:
    """List what --model takes: what ships, runs, and the Hub's cache. No weights are loaded."""
    from sfumato.cli.table import show_table

    found = [_described(name) for name in _names(folder or [])]
    if as_json:
        for one in found:
            print(json.dumps(asdict(one)))
        return
    show_table(_COLUMNS, [_cells(one) for one in found])


def _names(folders: Sequence[Path]) -> Iterator[str]:
    """What ships, then runs and other folders, then repositories in the Hub's cache."""
    from sfumato.cli.complete import hub_names
    from sfumato.library import shipped

    yield from shipped()
    for place in dict.fromkeys([Path("runs"), *folders]):
        inside = sorted(one for one in place.iterdir() if one.is_dir()) if place.is_dir() else []
        yield from (str(one) for one in (place, *inside) if _is_model(one))
    yield from hub_names()


def _is_model(folder: Path) -> bool:
    marks = ("run.json", "system.json", "cascade.json", "classifier.json", "codec.json", "model_index.json")
    return any((folder / mark).is_file() for mark in marks)


def _described(name: str) -> _Model:
    """A line on a model; what is wrong with it, if it cannot be read."""
    from sfumato.errors import SfumatoError
    from sfumato.interop.diffusers.folder import is_checkpoint, is_hub_name, read_folder
    from sfumato.library import shipped

    where = Path(name)
    try:
        if is_checkpoint(where) or (name not in shipped() and not where.exists() and is_hub_name(name)):
            return _checkpoint(name, read_folder(name, fetch=False))
        return _own(name, where)
    except (SfumatoError, OSError) as error:
        return _Model(name, error=str(error))


def _own(name: str, where: Path) -> _Model:
    """A system, a cascade, a classifier or a codec of ours, in its folder or in that of a run."""
    from sfumato.library import find_system
    from sfumato.system.cascade import CASCADE_FILE, read_cascade

    for kind in ("classifier", "codec"):
        folder = where / kind if (where / kind / f"{kind}.json").is_file() else where
        if (folder / f"{kind}.json").is_file() and not (where / "system").is_dir():
            return _weighed(
                name, "classifier of noisy samples" if kind == "classifier" else "codec", folder, f"{kind}.json"
            )
    if (where / "run.json").is_file() and not (where / "system").is_dir():
        return _Model(name, error="a run that has saved no system yet")
    folder = find_system(name)
    if not (folder / CASCADE_FILE).is_file():
        return _weighed(name, "", folder, "system.json")
    stages = [_weighed(name, "", folder / stage.folder, "system.json") for stage in read_cascade(folder).stages]
    total = sum(one.parameters or 0 for one in stages), sum(one.megabytes or 0 for one in stages)
    return _Model(name, f"cascade of {len(stages)}", *total, stages[0].reads, stages[-1].draws)


def _weighed(name: str, family: str, folder: Path, file: str) -> _Model:
    from math import prod

    from sfumato.system.file import read_outline

    spec, paths, header = read_outline(folder, file)
    count = sum(prod(shape) for _, shape in header.values())
    size = sum(path.stat().st_size for path in paths)
    reads = _reads(spec.get("conditioner") or {})
    return _Model(name, family or _family(spec), count / 1e6, size / 1e6, reads, _draws(spec))


def _family(spec: dict[str, Any]) -> str:
    """What a system makes of what: "latent text to image"."""
    codec, kind = spec.get("codec") or {}, (spec.get("conditioner") or {}).get("kind")
    latent = "latent " if codec.get("kind") == "latent" else ""
    source = {"labels": "class to ", "text": "text to ", "clip": "text to ", "learned": "text to "}.get(str(kind), "")
    return f"{latent}{source}{_medium(spec)}"


def _medium(spec: dict[str, Any]) -> str:
    return str(((spec.get("codec") or {}).get("medium") or {}).get("kind", "image"))


def _reads(conditioner: dict[str, Any]) -> str:
    """What a prompt may be: classes and how many, captions, or nothing."""
    kind = conditioner.get("kind", "nothing")
    if classes := conditioner.get("classes"):
        return f"{len(classes)} classes"
    return "nothing" if kind == "nothing" else "captions"


def _draws(spec: dict[str, Any]) -> str:
    from sfumato.parts import MEDIA

    size = (spec.get("settings") or {}).get("size")
    if not size:
        return ""
    own = (spec.get("codec") or {}).get("medium") or {"kind": "image"}
    return MEDIA.load(own).size_text(tuple(size))


def _checkpoint(name: str, found: "Checkpoint") -> _Model:
    """A checkpoint of diffusers, by its configurations and headers."""
    from math import prod

    from sfumato.errors import FormatError
    from sfumato.interop.diffusers.open import plan_opening

    weights = [one.weights() for key, one in found.components.items() if not key.startswith(("scheduler", "tokenizer"))]
    count = sum(prod(shape) for one in weights for _, shape in one.shapes.values())
    size = sum(path.stat().st_size for one in weights for path in one.paths)
    family, reads = _pipeline(found)
    try:
        sides = plan_opening(found)[1].size
    except FormatError as error:
        return _Model(name, family, count / 1e6, size / 1e6, reads, error=str(error))
    return _Model(name, family, count / 1e6, size / 1e6, reads, "×".join(map(str, sides)))


def _pipeline(found: "Checkpoint") -> tuple[str, str]:
    """The family of a checkpoint, and what it reads."""
    family, reads = found.pipeline.removesuffix("Pipeline"), "nothing"
    if any(key.startswith("text_encoder") for key in found.components):
        width = found.component("unet", "transformer").config.get("cross_attention_dim")
        family = _STABLE.get(int(width or 0), family) if family.startswith("StableDiffusion") else family
        reads = "captions"
    elif isinstance(labels := found.index.get("id2label"), dict):
        reads = f"{len(labels)} classes"
    return family, reads


def _cells(one: _Model) -> list[str]:
    numbers = [
        "" if value is None else f"{value:,.1f}{unit}"
        for value, unit in ((one.parameters, "M"), (one.megabytes, " MB"))
    ]
    return [one.name, one.family, *numbers, one.reads, one.error or one.draws]
