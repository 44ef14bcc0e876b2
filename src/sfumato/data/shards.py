"""Data sets in many files of one kind, as on the Hugging Face Hub: which files of a folder make up one."""

import os
from pathlib import Path

from sfumato.data.tree import visible
from sfumato.errors import InputError
from sfumato.media import Medium
from sfumato.wording import brief, count, few

TRAIN = ("train", "partial-train")
SPLITS = (*TRAIN, "test", "partial-test", "val", "partial-val", "dev")


def find_shards(folder: str | Path, medium: Medium, ending: str) -> tuple[list[Path], tuple[str, ...]]:
    """The files of an `ending`, as ".parquet", that make up a data set in a folder, in order of their names, and what
    to note of them.

    They lie in the folder or, as in a clone of the Hub's, in folders below it, beside a README and the like; a folder
    that also holds files of the medium's data is one of these. If the name of any file, or of a folder above it, begins
    with train, as of a training split, only those are taken, and the others are named in a note. Hidden files do not
    count.

    Raises InputError if the files are of several configurations, none called default.
    """
    names = _names(folder, medium, ending)
    if not names:
        return [], ()
    train = [name for name in names if any(part.startswith(TRAIN) for part in name.lower().split("/"))]
    taken = _of_one_configuration(train or names, folder)
    others = [name for name in names if name not in set(taken)]
    notes = (f"{count(len(others), 'file')} beside the training split passed over: {few(others)}",) if others else ()
    return [Path(folder) / name for name in taken], notes


def _names(folder: str | Path, medium: Medium, ending: str) -> list[str]:
    """The files of an ending below a folder, as paths from there; none as soon as a file of the medium is found."""
    found: list[str] = []
    for here, folders, files in os.walk(folder):
        below = Path(here).relative_to(folder)
        folders[:] = [name for name in folders if visible(name)]
        files = [name for name in files if visible(name)]
        if any(_ending(name) in medium.endings for name in files):
            return []
        paths = [(below / name).as_posix() for name in files if _ending(name) == ending]
        found.extend(path for path in paths if os.path.isfile(os.path.join(folder, path)))  # opening a pipe would wait
    return sorted(found)


def _of_one_configuration(names: list[str], folder: str | Path) -> list[str]:
    """Those of the configuration called default, or of the only one: a folder, but for those named as splits are."""
    by_folder: dict[str, list[str]] = {}
    for name in names:
        parts = [part for part in name.split("/")[:-1] if not part.lower().startswith(SPLITS)]
        by_folder.setdefault("/".join(parts), []).append(name)
    taken = by_folder.get("default", next(iter(by_folder.values())))
    if len(by_folder) > 1 and "default" not in by_folder:
        wanted = f"expected the {_ending(names[0])} files of one data set, came those of"
        raise InputError(f"{brief(str(folder))}: {wanted} {len(by_folder)}: {few([*by_folder])}; name one folder")
    return taken


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
