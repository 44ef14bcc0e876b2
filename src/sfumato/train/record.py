"""`run.json`: what a run was begun with, and whether that is still so."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sfumato import disk, files
from sfumato.data.dataset import Dataset
from sfumato.data.hub import HUB_PREFIX
from sfumato.data.idx import find_idx
from sfumato.data.source import NAMED
from sfumato.errors import FormatError, InputError, NotFoundError, ResumeError, quoted
from sfumato.train import lock
from sfumato.train.base_recipe import Recipe, differences
from sfumato.train.compute import Compute
from sfumato.train.recipe import check_recipe
from sfumato.train.run_folder import RunFolder
from sfumato.wording import few

RUN_FORMAT = 2


def before(folder: RunFolder, resume: bool) -> dict[str, Any] | None:
    """What is on record of the run in `folder`; None for a new one. A folder in use is never written over."""
    lock.check_free(folder.path)
    if not resume:
        if not folder.is_new:
            hint = "--resume goes on with it; or " if folder.begun else ""
            raise InputError(f"{folder} is not empty: {hint}choose a new folder with --out")
        disk.check_writable(folder.path)
        return None
    if not folder.begun:
        raise ResumeError(f"there is no run to resume in {folder}: it holds no {folder.record_file.name}")
    disk.check_writable(folder.path)
    return _read(folder.record_file)


def _read(path: Path) -> dict[str, Any]:
    """A record, and a run's recipe in it."""
    held = files.read_json(path)
    if held.get("format") != RUN_FORMAT:
        raise ResumeError(
            f"{path} is in format {quoted(held.get('format'))}; this version of Sfumato reads format {RUN_FORMAT}"
        )
    try:
        check_recipe(held["recipe"])
        if not isinstance(held["data"], str):
            raise InputError(f"'data' should be a text, not {quoted(held['data'])}")
    except (InputError, KeyError, TypeError, AttributeError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FormatError(f"{path} is damaged: {detail}") from error
    return held


def about(where: str, recipe: Recipe, dataset: Dataset, compute: Compute) -> dict[str, Any]:
    """What `run.json` records: all that decides the weights."""
    return {
        "format": RUN_FORMAT,
        "sfumato": version("sfumato"),
        "data": where,
        dataset.medium.plural: len(dataset),
        "classes": len(dataset.classes),
        "captions": sum(map(bool, dataset.captions)),
        "fingerprint": dataset.fingerprint,
        "contents": dataset.contents,
        "precision": compute.precision,
        "threads": compute.threads_in_use,
        "left_out": [skipped.name for skipped in dataset.skipped],
        "recipe": recipe.dump(),
    }


def spell_data(data: str | Path) -> str:
    """How a run records its data: a path from the root on, so that it is found from any folder."""
    if isinstance(data, str) and (not data or data in NAMED or data.startswith(HUB_PREFIX)):
        return data
    return str(Path(data).absolute())


def data_of(before: dict[str, Any], folder: RunFolder) -> str:
    """The data of a run. Raises a `NotFoundError` if it is not where it was."""
    where: str = before["data"]
    if where in NAMED or where.startswith(HUB_PREFIX) or Path(where).exists():
        return where
    raise NotFoundError(
        f"the run's data was {quoted(where)}, and is not there any more: say where it is now, as in"
        f" sfumato train DATA --resume --out {folder}"
    )


def check_apart(where: str, folder: RunFolder, stages: Sequence[str] = ()) -> None:
    """Raise an `InputError` if the previews of the run, or of its stages, would be among its data."""
    data = Path(where)
    if where in NAMED or where.startswith(HUB_PREFIX) or not data.is_dir():
        return
    with suppress(OSError):
        if find_idx(data):  # of such a folder no pictures are read; of one of shards they are, once there are any
            return
    places = [one.samples.resolve() for one in (folder, *map(folder.within, stages))]
    for root in (data, *_links(data)):
        if any(_among(place, root.resolve()) for place in places):
            raise InputError(
                f"{folder} lies in the data, {data}, or the data in it, so that previews would become data:"
                f" choose a folder beside the data, such as --out {data.resolve()}-{folder.path.name}"
            )


def _links(data: Path) -> Iterator[Path]:
    """The links to folders below a folder, which are followed for pictures."""
    for here, folders, _ in os.walk(data):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in folders if (path := Path(here, name)).is_symlink())


def _among(place: Path, data: Path) -> bool:
    """Whether pictures at `place` would be read as of the folder `data`, which passes over what is hidden."""
    if not place.is_relative_to(data):
        return data.is_relative_to(place)
    return not any(part.startswith(".") for part in place.relative_to(data).parts)


# What changed ---------------------------------------------------------------------------------------------------------


def changes(before: dict[str, Any], now: dict[str, Any], plural: str) -> list[str]:
    """How version, precision, threads and data differ from what is on record, a line each."""
    found = [line for key in ("sfumato", "precision") for line in differences({key: before.get(key)}, {key: now[key]})]
    if before.get("threads") and now["threads"]:
        found += differences({"threads": before["threads"]}, {"threads": now["threads"]})
    if any(before.get(key, now[key]) != now[key] for key in ("fingerprint", "contents")):
        found.append(f"the data: {_data_change(before, now, plural)}")
    elif before.get("left_out") != now["left_out"]:
        old, new = (len(one) if isinstance(one := side.get("left_out"), list) else "?" for side in (before, now))
        found.append(f"left_out: {old} → {new} {plural} ({few(now['left_out'])})")
    return found


def _data_change(before: dict[str, Any], now: dict[str, Any], plural: str) -> str:
    counts = [
        f"{quoted(before[key])} → {now[key]:,} {key}"
        for key in (plural, "classes", "captions")
        if key in before and before[key] != now[key]
    ]
    key = "fingerprint" if before.get("fingerprint") != now["fingerprint"] else "contents"
    marks = " → ".join(str(side.get(key))[:12] for side in (before, now))
    same = f"{now[plural]:,} {plural} as before, but not the same ones, or not in the same form"
    return f"{', '.join(counts) or same} ({key}: {marks})"


def altered(before: dict[str, Any], now: dict[str, str], folder: RunFolder) -> Iterator[str]:
    """What was made for a run and is not what it was trained with, and what to do: a line each."""
    recorded = before.get("made")
    recorded = recorded if isinstance(recorded, dict) else {}
    for name, digest in now.items():
        if recorded.get(name, digest) != digest:
            codec = (folder.path / name).is_dir()
            what, anew = ("codec in ", "") if codec else ("file ", "; or remove it, and --resume makes it anew")
            yield f"the {what}{folder.path / name} is not the one that this run was trained in: put it back{anew}"
