"""The folder of a run that nobody named."""

import re
from os.path import normpath
from pathlib import Path

from sfumato.data.hub import HUB_PREFIX
from sfumato.data.source import NAMED
from sfumato.errors import FormatError, ResumeError, quoted
from sfumato.train import lock
from sfumato.train.run_folder import RunFolder
from sfumato.wording import few

RUNS = Path("runs")
"""Where runs are kept, below the folder that one works in."""


def new_folder(where: str, runs: Path = RUNS) -> Path:
    """The first of NAME, NAME-2, NAME-3, … in `runs` in which a run may begin, and none is about to.

    NAME is that of the data."""
    name, n = _name(where), 1
    while not _is_free(path := runs / (name if n == 1 else f"{name}-{n}")):
        n += 1
    return path


def newest_run(where: str | None, runs: Path = RUNS) -> Path:
    """The run in `runs` that was last at work on these data; without data, the only run there is. Raises a
    `ResumeError` if there is none, or if there are several to choose from."""
    found = [path for path in sorted(runs.glob("*")) if RunFolder(path).begun]
    if where is not None:
        found = [path for path in found if _data(path) == where]
        if found:
            return max(found, key=lambda path: (_last_change(path), path.name))
        raise ResumeError(f"no run in {runs} is of {quoted(where)}: say which to go on with, by --out")
    if len(found) == 1:
        return found[0]
    there = f"{few([path.name for path in found])} are" if found else "none is"
    raise ResumeError(f"{there} in {runs}: say which run to go on with, by its data or by --out")


def _is_free(path: Path) -> bool:
    try:
        lock.check_free(path)
    except ResumeError:
        return False
    return RunFolder(path).is_new


def _name(where: str) -> str:
    """What data are called: the name of their folder or file, without its ending; of a data set on the Hub, its own."""
    if where in NAMED:
        return where
    if where.startswith(HUB_PREFIX):
        return ["data", *re.split(r"[/@]", where.removeprefix(HUB_PREFIX))][:3][-1] or "data"
    path = Path(normpath(where))
    return (path.name if path.is_dir() else path.name.partition(".")[0]) or "data"


def _data(path: Path) -> str | None:
    try:
        return (RunFolder(path).read_record() or {}).get("data")
    except FormatError:
        return None


def _last_change(path: Path) -> float:
    folder = RunFolder(path)
    return max(one.stat().st_mtime for one in (folder.record_file, folder.log) if one.exists())
