"""`run.json`: what a run was begun with, and whether that is still so."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sfumato import disk, files
from sfumato.data.dataset import Dataset
from sfumato.data.hub import HUB_PREFIX
from sfumato.data.idx import find_idx
from sfumato.data.parquet import find_parquet
from sfumato.data.source import NAMED
from sfumato.errors import FormatError, InputError, ResumeError, quoted
from sfumato.system import file as system_file
from sfumato.train import lock
from sfumato.train import recipe as recipes
from sfumato.train.place import Place
from sfumato.train.recipe import Recipe
from sfumato.wording import few

FORMAT = 2
NAME = "run.json"
CACHE = "sfumato-pictures.npy"
"""A name that nobody else gives: what a start that was killed leaves under it does not make a folder one in use."""
CODEC = "codec"
FITTING = "autoencoder"
GIVEN = "given"
LATENTS = "latents-{}.npy"
CAPTIONS = "captions.safetensors"
TOKENIZER = "tokenizer.json"


def before(folder: Path, resume: bool) -> dict[str, Any] | None:
    """What is on record of the run in `folder`; None for a new one. A folder in use is never written over."""
    lock.check_free(folder)
    record = folder / NAME
    if not resume:
        if disk.in_use(folder) and not _only_ours(folder):
            hint = "--resume goes on with it; or " if record.exists() else ""
            raise InputError(f"{folder} is not empty: {hint}choose a new folder with --out")
        disk.check_writable(folder)
        return None
    if not record.exists():
        raise ResumeError(f"there is no run to resume in {folder}: it holds no {NAME}")
    disk.check_writable(folder)
    said = files.read_json(record)
    if said.get("format") != FORMAT:
        raise ResumeError(
            f"{record} is in format {quoted(said.get('format'))}; this version of Sfumato reads format {FORMAT}"
        )
    try:
        recipes.check_recipe(said["recipe"])
        if not isinstance(said["data"], str):
            raise InputError(f"'data' should be a text, not {quoted(said['data'])}")
    except (InputError, KeyError, TypeError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FormatError(f"{record} is damaged: {detail}") from error
    return said


def _only_ours(folder: Path) -> bool:
    """Whether all in a folder, but for hidden files, is what a start that was killed left."""
    return folder.is_dir() and all(path.name == CACHE or disk.hidden(path.name) for path in folder.iterdir())


def about(where: str, recipe: Recipe, pictures: Dataset, place: Place) -> dict[str, Any]:
    """What `run.json` records: all that decides the weights."""
    return {
        "format": FORMAT,
        "sfumato": version("sfumato"),
        "data": where,
        "pictures": len(pictures),
        "classes": len(pictures.classes),
        "captions": sum(map(bool, pictures.captions)),
        "fingerprint": pictures.fingerprint,
        "contents": pictures.contents,
        "precision": place.precision,
        "left_out": [skipped.name for skipped in pictures.skipped],
        "recipe": recipe.dump(),
    }


def spelled(data: str | Path) -> str:
    """How a run records its data: a path from the root on, so that it is found from any folder."""
    if isinstance(data, str) and (not data or data in NAMED or data.startswith(HUB_PREFIX)):
        return data
    return str(Path(data).absolute())


def data_of(said: dict[str, Any], folder: Path) -> str:
    """The data of a run. Raises a `ResumeError` if it is not where it was."""
    where: str = said["data"]
    if where in NAMED or where.startswith(HUB_PREFIX) or Path(where).exists():
        return where
    raise ResumeError(
        f"the run's data was {quoted(where)}, and is not there any more: say where it is now, as in"
        f" sfumato train DATA --resume --out {folder}"
    )


def check_apart(where: str, folder: Path) -> None:
    """Raise an `InputError` if the run's own sheets would be among its data."""
    data = Path(where)
    if where in NAMED or where.startswith(HUB_PREFIX) or not data.is_dir():
        return
    with suppress(OSError):
        if find_idx(data) or find_parquet(data)[0]:  # of such folders no pictures are read
            return
    places = [(folder / name).resolve() for name in ("samples", f"{FITTING}/samples")]
    for root in (data, *_links(data)):
        if any(_among(place, root.resolve()) for place in places):
            raise InputError(
                f"{folder} lies in the data, {data}, or the data in it, so that sheets of samples would become data:"
                f" choose a folder beside the data, such as --out {data.resolve()}-{folder.name}"
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


def changes(said: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """How version, precision and data differ from what is on record, a line each."""
    found = [
        line for key in ("sfumato", "precision") for line in recipes.differences({key: said.get(key)}, {key: now[key]})
    ]
    if any(said.get(key, now[key]) != now[key] for key in ("fingerprint", "contents")):
        found.append(f"the data: {_data_change(said, now)}")
    elif said.get("left_out") != now["left_out"]:
        old, new = (len(one) if isinstance(one := side.get("left_out"), list) else "?" for side in (said, now))
        found.append(f"left_out: {old} → {new} pictures ({few(now['left_out'])})")
    return found


def _data_change(said: dict[str, Any], now: dict[str, Any]) -> str:
    counts = [
        f"{quoted(said[key])} → {now[key]:,} {key}"
        for key in ("pictures", "classes", "captions")
        if key in said and said[key] != now[key]
    ]
    key = "fingerprint" if said.get("fingerprint") != now["fingerprint"] else "contents"
    marks = " → ".join(str(side.get(key))[:12] for side in (said, now))
    same = f"{now['pictures']:,} pictures as before, but not the same ones, or not in the same form"
    return f"{', '.join(counts) or same} ({key}: {marks})"


def made(folder: Path, known: dict[str, str] | None = None) -> dict[str, str]:
    """Hashes of what was made for a run before its training, by the names of the files, as far as it is there; those
    that are `known` already are not read again."""
    known = known or {}
    codecs = [name for name in (CODEC, GIVEN) if (folder / name / system_file.CODEC_FILE).exists()]
    found = {name: _codec(folder / name) for name in codecs}
    others = [folder / TOKENIZER, *sorted(folder.glob(LATENTS.format("*")))]
    return found | {path.name: known.get(path.name) or files.sha256(path) for path in others if path.is_file()}


def _codec(folder: Path) -> str:
    """A hash of a codec: of its weights and of what they stand in."""
    said = system_file.read_spec(folder, system_file.CODEC_FILE)
    return sha256(json.dumps([said.get("codec"), said.get("digest")], sort_keys=True).encode()).hexdigest()


def altered(said: dict[str, Any], now: dict[str, str], folder: Path) -> Iterator[str]:
    """What was made for a run and is not what it was trained with, and what to do: a line each."""
    recorded = said.get("made")
    recorded = recorded if isinstance(recorded, dict) else {}
    for name, digest in now.items():
        if recorded.get(name, digest) != digest:
            anew = "" if name in (CODEC, GIVEN) else "; or remove it, and --resume makes it anew"
            what = "codec in " if name in (CODEC, GIVEN) else "file "
            yield f"the {what}{folder / name} is not the one that this run was trained in: put it back{anew}"
