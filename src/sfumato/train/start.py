"""How a training starts, or goes on: everything is checked, the data are read, and then the run is made."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from sfumato import logs, machine
from sfumato.arguments import listed
from sfumato.core.defaults import torch_defaults
from sfumato.data.dataset import Dataset
from sfumato.errors import InputError, ResumeError
from sfumato.notebook import in_notebook
from sfumato.train import processes, record
from sfumato.train.asked import Asked
from sfumato.train.base_recipe import Recipe, differences
from sfumato.train.choose import choose
from sfumato.train.compute import Compute
from sfumato.train.monitor import Guarded, Logged, Monitor
from sfumato.train.notebook import Notebook
from sfumato.train.out import new_folder, newest_run
from sfumato.train.plan import Budget
from sfumato.train.recipe import check_recipe, load_recipe
from sfumato.train.run import Run, alone, is_finished
from sfumato.train.run_folder import RunFolder
from sfumato.train.signals import interruptible
from sfumato.train.tasks import TASKS

NO_DATA = "what to train on? give a folder of data, a .zip, a .npz, or a name such as digits"
_log = logs.EventLogger(__name__)


@torch_defaults()
@torch.enable_grad()
def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    settings: Iterable[str] = (),
    steps: int | None = None,
    images: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    dry_run: bool = False,
    device: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    open_page: bool = False,
    monitor: Monitor | None = None,
) -> Any:
    """Train a system on `data` by a recipe and keep all of it in the folder `out`; returns the `System`.

    A recipe whose task is "classify" trains a `NoisyClassifier` in its place, in the folder `classifier/`; one whose
    task is "autoencode" a codec, in `codec/`. A recipe that diffuses in latents fits its codec first.

    - `data`: what `sfumato.data.open_source` opens: a folder, a .zip, a .npz, IDX files, "digits";
    - `recipe`: the name of one that ships, a TOML file, its tables as a dict, or a `Recipe`; one is chosen
      by the data, the machine and the time when it is left out (`choose`). `settings` lay "key=value" over it;
    - `steps`, `images` or `epochs` (passes over the data) in all, or `minutes` of this sitting: when to stop. Without
      any, the recipe's own number;
    - `resume`: go on with the run in `out`, exactly where it was saved. `data` and `recipe` are then the run's own, and
      may be left out. If given and different, that is a `ResumeError` that lists what differs, unless `accept_changes`;
    - `out`: without one, `runs/` and the name of the data, numbered where that is taken; with `resume`, the run there
      that was last at work on these data;
    - `dry_run`: read the data, rehearse a step and return the `TrainingPlan`; nothing is left behind;
    - `device` ("cpu", "cuda", "mps") and `precision` ("float32", "bfloat16"): the best there are if left out;
    - `open_page`: show the run's page in the browser, once it is there;
    - `threads` of the CPU: as many as torch takes if left out, or fewer where a rehearsed step is faster so. They
      decide the last bits of the weights, so a resumed run takes those on record;
    - `monitor`: shows progress while it runs; if left out, a notebook has a bar and anything else nothing. What happens
      is logged in any case: see `logs`.

    `out` gets `system/` (what `sfumato.load` opens), `checkpoints/`, `samples/`, `log.jsonl`, `run.json`, and the page
    `index.html` to watch all that by.
    """
    if dry_run and resume:
        raise InputError("--dry-run plans a run from its beginning: leave --resume out, or go on without --dry-run")
    with _scratch(dry_run) as scratch:
        asked = Asked(steps, images, epochs, minutes)
        machine.check_threads(threads)
        folder = RunFolder(_folder(data, out, resume) if scratch is None else Path(scratch))
        before = record.before(folder, resume)
        if data is None and before is None:
            raise InputError(NO_DATA)
        where = record.spell_data(data) if data is not None else record.data_of(before or {}, folder)
        accelerator = processes.join(device)
        precision = machine.pick_precision(accelerator.device, precision or (before or {}).get("precision"))
        compute = Compute(accelerator, precision, threads)
        if recipe is None and before is None:
            with machine.threads(threads), _memory_errors():
                chosen: Recipe = choose(where, settings, asked, compute)
        else:
            chosen = _recipe(recipe, settings, before, accept_changes)
        task = TASKS[chosen.task]
        record.check_apart(where, folder, task.stages)
        task.check_sources(chosen, None if before is None else check_recipe(before["recipe"]), folder)
        budget = None if epochs else _unfinished(chosen, asked.budget(chosen, folder), folder)
        for own in (chosen, *task.stage_recipes(chosen, folder)):
            _check_shares(own, accelerator.num_processes)
        if before is None and scratch is None:
            folder = RunFolder(_folder(data, out, resume))  # choosing takes a while, in which another may have begun
        folder = RunFolder(compute.agreed(folder.path))
        compute.wait()  # no process writes to the folder before all have found it as it was
        monitor = Notebook() if monitor is None and in_notebook() else monitor
        watched = Guarded(Logged(), *([monitor] if monitor is not None else [])) if compute.is_main else Guarded()
        speaking = logs.silent(not compute.is_main)
        with speaking, watched, interruptible(folder.record_file), alone(folder, compute, before), _memory_errors():
            dataset = _read(where, chosen, folder, watched)
            budget = budget or _unfinished(chosen, asked.budget(chosen, folder, len(dataset)), folder)
            run = Run(chosen, budget, where, dataset, folder, compute, watched, before, accept_changes, open_page)
            return (run.dry() if dry_run else run).make()


def _scratch(wanted: bool) -> AbstractContextManager[str | None]:
    """A folder that is gone at the end, for a run that is only to be planned."""
    return TemporaryDirectory(prefix="sfumato-") if wanted else nullcontext()


def _folder(data: str | Path | None, out: str | Path | None, resume: bool) -> Path:
    """The folder of the run: the one asked for, or else one that is called after the data."""
    if out is not None:
        return Path(out)
    if resume:
        path = newest_run(None if data is None else record.spell_data(data))
        _log.info(f"going on with {path}")
        return path
    if data is None:
        raise InputError(NO_DATA)
    return new_folder(record.spell_data(data))


def _recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe | None,
    settings: Iterable[str],
    before: dict[str, Any] | None,
    accept_changes: bool,
) -> Recipe:
    """The recipe asked for; a resumed run's own unless one is given, which then must be the same."""
    settings = [settings] if isinstance(settings, str) else listed("settings", settings)
    if before is None:
        assert recipe is not None
        return load_recipe(recipe, settings)
    own = check_recipe(before["recipe"])
    asked = load_recipe(own if recipe is None else recipe, settings).as_planned(own)
    changes = differences(own.dump(), asked.dump())
    if changes and not accept_changes:
        raise ResumeError(
            f"the recipe differs from the run's: {'; '.join(changes)}. --accept-changes goes on with them"
        )
    return asked


def _unfinished(recipe: Recipe, budget: Budget, folder: RunFolder) -> Budget:
    """The budget, or that of a run which ended between its last checkpoint and what it was to leave behind; an
    `InputError` if there is nothing to do."""
    step = folder.last_step
    if step < budget.steps:
        return budget
    if is_finished(recipe, folder):
        made = f"has made {step:,} steps already, and {budget.steps:,} are asked for in all"
        raise InputError(f"{folder} {made if step else 'is fitted already, in closed form'}")
    return Budget(step)


def _check_shares(recipe: Recipe, processes: int) -> None:
    """Raise an `InputError` unless each process has as many samples of a batch as every other, in as many parts."""
    own = recipe.train
    parts = processes * own.accumulate
    if own.batch % parts:
        raise InputError(
            f"train.batch ({own.batch}) must be a multiple of {parts}: {processes} processes work on it in"
            f" {own.accumulate} parts each; set train.batch={max(own.batch // parts, 1) * parts}"
        )


def _read(where: str, recipe: Recipe, folder: RunFolder, monitor: Monitor) -> Dataset:
    """The data, and a word on what was left out."""
    reading = partial(monitor.preparing, what=f"reading {recipe.data.plural}")
    dataset = recipe.data.prepare(where, folder.cache, reading, recipe.conditioning)
    medium, classes = dataset.medium, f" in {len(dataset.classes)} classes" if dataset.classes else ""
    _log.info(f"{where}: {len(dataset):,} {medium.plural} of {medium.size_text(dataset.size)}{classes}")
    for note in (*TASKS[recipe.task].notes(recipe, dataset), *dataset.notes):
        _log.warning(note)
    for skipped in dataset.skipped[:5]:
        _log.warning(f"  {skipped.name}: {skipped.reason}")
    return dataset


def _memory_errors() -> AbstractContextManager[None]:
    """For what a step does not say better."""
    return machine.memory_errors(
        "what is trained on does not fit the memory: end other programs, set data.size smaller, or a smaller network"
    )
