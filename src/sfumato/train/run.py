"""The front door of training: check everything, say the cost, train."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch

from sfumato import disk, files, machine
from sfumato.core.defaults import torch_defaults
from sfumato.data.dataset import Dataset
from sfumato.data.prepare import prepare
from sfumato.data.source import open_source
from sfumato.errors import FormatError, InputError, ResumeError, quoted
from sfumato.library import find_system
from sfumato.system import System
from sfumato.system import file as system_file
from sfumato.system.classifier import NoisyClassifier
from sfumato.train import checkpoint, lock, processes, record
from sfumato.train import recipe as recipes
from sfumato.train.autoencode import FittedCodec
from sfumato.train.monitor import Guarded, Monitor, Quiet
from sfumato.train.place import Place
from sfumato.train.plan import Budget, check_disk
from sfumato.train.recipe import Recipe, differences
from sfumato.train.record import CODEC, FITTING, GIVEN, TOKENIZER
from sfumato.train.signals import interruptible
from sfumato.train.stage import check_codec, copy_codec, fitting, kept, work
from sfumato.train.trainer import Trainer

MOST_STEPS = 10**8
ARTEFACTS = {"denoise": "system", "classify": "classifier", "autoencode": "codec"}
"""The folder of what a task leaves behind, which holds a JSON of that name."""


@torch_defaults()
@torch.enable_grad()
def train(
    data: str | Path | None = None,
    *,
    out: str | Path,
    recipe: str | Path | None = None,
    settings: Iterable[str] = (),
    steps: int | None = None,
    images: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    device: str | None = None,
    precision: str | None = None,
    monitor: Monitor | None = None,
) -> System | NoisyClassifier | FittedCodec:
    """Train a system on `data` by a recipe and keep all of it in the folder `out`; returns the system.

    A recipe whose task is "classify" trains a `NoisyClassifier` in its place, in the folder `classifier/`; one whose
    task is "autoencode" a codec, in `codec/`. A recipe that diffuses in latents fits its codec first.

    - `data`: what `sfumato.data.open_source` opens: a folder, a .zip, a .npz, IDX files, "digits";
    - `recipe`: the name of one that ships, or a TOML file ("ddpm" when left out); `settings` lay "key=value" over it;
    - `steps` or `images` in all, or `minutes` of this sitting: when to stop. Without any, the recipe's own number;
    - `resume`: go on with the run in `out`, exactly where it was saved. `data` and `recipe` are then the run's own, and
      may be left out. If given and different, that is a `ResumeError` that lists what differs, unless `accept_changes`.

    `out` gets `system/` (what `sfumato.load` opens), `checkpoints/`, `samples/`, `log.jsonl` and `run.json`.
    """
    folder = Path(out)
    before = record.before(folder, resume)
    if data is None and before is None:
        raise InputError("what to train on? give a folder of pictures, a .zip, a .npz, or a name such as digits")
    where = record.spelled(data) if data is not None else record.data_of(before or {}, folder)
    chosen = _recipe(recipe, settings, before, accept_changes)
    budget = _budget(chosen, folder, steps, images, minutes)
    record.check_apart(where, folder)
    _check_stages(chosen, before, folder)
    if (made := checkpoint.last_step(folder / "checkpoints")) >= budget.steps:
        if _finished(chosen, folder, made):
            raise InputError(f"{folder} has made {made:,} steps already, and {budget.steps:,} are asked for in all")
        budget = Budget(made)  # it ended between its last checkpoint and what it was to leave behind
    accelerator = processes.join(device, monitor.say if monitor is not None else lambda text: None)
    for stage in (chosen, fitting(chosen)) if _to_be_fitted(chosen, folder) else (chosen,):
        _check_shares(stage, accelerator.num_processes)
    computes = machine.pick_precision(accelerator.device, precision or (before or {}).get("precision"))
    accelerator.wait_for_everyone()  # no process writes to the folder before all have found it as it was
    monitor = Guarded(monitor) if monitor is not None and accelerator.is_main_process else Quiet()
    place = Place(folder, accelerator, computes)
    stopping = interruptible(monitor.say, folder / record.NAME)
    with monitor, stopping, _alone(place, before, monitor), _memory_errors():
        pictures = _read(where, chosen, folder, monitor)
        return _run(chosen, budget, where, pictures, place, monitor, before, accept_changes)


def _run(
    recipe: Recipe,
    budget: Budget,
    where: str,
    pictures: Dataset,
    place: Place,
    monitor: Monitor,
    before: dict[str, Any] | None,
    accept_changes: bool = False,
) -> Any:
    """One run, once its pictures are read: what it needs first, then its training. Returns what it leaves behind.

    What is on record of a run is written over when all that it goes on with has been found to fit, and not before.
    """
    folder, main = place.folder, place.accelerator.is_main_process
    about, made = record.about(where, recipe, pictures, place), record.made(folder)
    refuse = partial(_refuse_changes, before or {}, folder=folder, accept=accept_changes, say=monitor.say)
    if before is not None:
        refuse(about, made)
    began = time.monotonic()
    begin = partial(files.write_json, folder / record.NAME, about) if main and before is None else lambda: None
    fit = partial(_fit_codec, recipe, budget, where, pictures, place, monitor)
    task = work(recipe, pictures, place, monitor, begin, fit, budget.minutes)
    about["made"] = record.made(folder, made)
    if before is not None:
        refuse(about, {name: mark for name, mark in about["made"].items() if mark != made.get(name)})
    if budget.minutes is not None:  # the time that the codec, captions and latents took is part of it
        left = budget.minutes - (time.monotonic() - began) / 60
        budget = Budget(budget.steps, max(left, 0.1 * budget.minutes))
    trainer = Trainer(recipe, task, place, monitor)
    if found := checkpoint.find_checkpoints(folder / "checkpoints"):
        trainer.resume(found[-1])
    plan = replace(trainer.rehearse(budget), kept=kept(folder))
    if trainer.step < budget.steps:
        check_disk(folder, plan.disk)
    if main:
        monitor.plan(plan)
        files.write_json(folder / record.NAME, about)
        trainer.log.cut(trainer.step if found else -1)
    trainer.run(budget)
    if main:
        monitor.say(f"{trainer.step:,} steps made: {folder / task.name}")
    return trainer.artefact.to(place.device, place.precision)


def _check_stages(recipe: Recipe, before: dict[str, Any] | None, folder: Path) -> None:
    """Raise an error for a codec that cannot be had, or for what cannot be had any more; before data is read."""
    has_codec = (folder / CODEC / system_file.CODEC_FILE).exists()
    if before is not None:
        own = recipes.check_recipe(before["recipe"])
        if (has_codec or (folder / FITTING / record.NAME).exists()) and own.codec != recipe.codec:
            state = "its codec" if has_codec else "begun to fit its codec"
            raise ResumeError(f"{folder} has {state} already: [codec] cannot be changed any more")
        if (folder / TOKENIZER).exists() and own.condition.vocabulary != recipe.condition.vocabulary:
            raise ResumeError(f"{folder} has its tokenizer already: condition.vocabulary cannot be changed any more")
    if recipe.train.init_from is not None and checkpoint.last_step(folder / "checkpoints") < 0:
        find_system(recipe.train.init_from)
    if recipe.codec.kind == "latent" and not has_codec and not (folder / FITTING / record.NAME).exists():
        check_codec(recipe)
    if (
        recipe.task == "autoencode"
        and not (folder / GIVEN).exists()
        and checkpoint.last_step(folder / "checkpoints") < 0
    ):
        check_codec(recipe)


def _finished(recipe: Recipe, folder: Path, step: int) -> bool:
    """Whether a run that has made its steps has left behind all that it was to: its artefact of that step, and a last
    sheet if it draws any."""
    name = ARTEFACTS[recipe.task]
    try:
        steps = system_file.read_spec(folder / name, f"{name}.json")["about"]["steps"]
    except (FormatError, KeyError, TypeError):
        return False
    return steps == step and (recipe.task == "classify" or (folder / "samples" / f"step-{step:09d}.png").exists())


def _fit_codec(recipe: Recipe, budget: Budget, where: str, pictures: Dataset, place: Place, monitor: Monitor) -> None:
    """The first stage: put the run's codec into its folder, from the folder that the recipe names or by a run of its
    own."""
    own, folder = recipe.codec, place.folder / FITTING
    if own.path is None:
        before = record.before(folder, resume=True) if (folder / record.NAME).exists() else None
        place.accelerator.wait_for_everyone()
        stage = fitting(recipe) if before is None else recipes.check_recipe(before["recipe"])
        minutes = None if budget.minutes is None else budget.minutes * own.time_share
        steps = stage.train.steps if minutes is None else MOST_STEPS
        made = checkpoint.last_step(folder / "checkpoints")
        if made < steps or not _finished(stage, folder, made):
            monitor.say(f"first the codec, {f'{steps:,} steps' if minutes is None else f'{minutes:g} minutes'}")
            within = Place(folder, place.accelerator, place.precision)
            with _alone(within, before, monitor):
                _run(stage, Budget(max(steps, made), minutes), where, pictures, within, monitor, before)
            place.accelerator.free_memory()
    if place.accelerator.is_main_process:
        copy_codec(folder if own.path is None else own.path, place.folder / CODEC)
    place.accelerator.wait_for_everyone()


def _memory_errors() -> AbstractContextManager[None]:
    """For what a step does not say better."""
    return machine.memory_errors(
        "what is trained on does not fit the memory: end other programs, set data.size smaller, or a smaller network"
    )


@contextmanager
def _alone(place: Place, before: dict[str, Any] | None, monitor: Monitor) -> Iterator[None]:
    """The run's folder for this training alone, as it was found; an error before the run is on record leaves nothing
    of it there. The first process holds the lock for all."""
    folder, main = place.folder, place.accelerator.is_main_process
    with ExitStack() as stack:
        with processes.all_or_none(place.accelerator):
            if main:
                stack.enter_context(lock.held(folder, monitor.say))
                _check_unchanged(folder, before)
                _clear(folder)
        try:
            yield
        except BaseException:
            if main and not (folder / record.NAME).exists():
                (folder / record.CACHE).unlink(missing_ok=True)
            raise


def _check_unchanged(folder: Path, before: dict[str, Any] | None) -> None:
    """Raise a `ResumeError` if another process has begun or gone on with the run since it was looked at."""
    path = folder / record.NAME
    if (files.read_json(path) if path.exists() else None) != before:
        raise ResumeError(f"{folder} is in use: its {path.name} has just changed; see what it is now, and try again")


def _clear(folder: Path) -> None:
    """Remove what killed writers left in a run's folder; the first stage has a lock of its own."""
    with suppress(OSError):
        for inner in (folder, *folder.iterdir()):
            if inner.is_dir() and inner.name != FITTING:
                disk.clear_parts(inner, alone=True)


def _to_be_fitted(recipe: Recipe, folder: Path) -> bool:
    """Whether a run has its codec still to fit."""
    own = recipe.codec
    return own.kind == "latent" and own.path is None and not (folder / CODEC / system_file.CODEC_FILE).exists()


def _check_shares(recipe: Recipe, processes: int) -> None:
    """Raise an `InputError` unless each process has as many samples of a batch as every other, in as many parts."""
    own = recipe.train
    parts = processes * own.accumulate
    if own.batch % parts:
        raise InputError(
            f"train.batch ({own.batch}) must be a multiple of {parts}: {processes} processes work on it in"
            f" {own.accumulate} parts each; set train.batch={max(own.batch // parts, 1) * parts}"
        )


def _recipe(
    name: str | Path | None, settings: Iterable[str], before: dict[str, Any] | None, accept_changes: bool
) -> Recipe:
    """The recipe asked for; a resumed run's own unless one is given, which then must be the same."""
    settings = list(settings)
    if before is None:
        return recipes.load_recipe(name or "ddpm", settings)
    own = recipes.check_recipe(before["recipe"])
    if name is None:
        asked = recipes.lay_over(own.dump(), settings)
    else:
        asked = recipes.load_recipe(name, settings)
    changes = differences(own.dump(), asked.dump())
    if changes and not accept_changes:
        raise ResumeError(
            f"the recipe differs from the run's: {'; '.join(changes)}. --accept-changes goes on with them"
        )
    return asked


def _budget(recipe: Recipe, folder: Path, steps: int | None, images: int | None, minutes: float | None) -> Budget:
    """When to stop, from what was asked or else from the recipe."""
    given = {"steps": steps, "images": images, "minutes": minutes}
    for name, value in given.items():
        kind: Any = Real if name == "minutes" else Integral
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            what = "a number" if kind is Real else "a whole number"
            raise InputError(f"--{name} must be {what}, not {quoted(value)}")
        if value is not None and not 0 < value <= MOST_STEPS:
            raise InputError(f"--{name} must be more than 0 and at most {MOST_STEPS:,}, not {value:g}")
    if sum(value is not None for value in given.values()) > 1:
        raise InputError("give one of --steps, --images and --minutes, not several")
    if images is not None:
        found = checkpoint.find_checkpoints(folder / "checkpoints")[-1:]
        seen = sum(checkpoint.samples_seen(path, recipe.train.batch) for path in found)
        return Budget(
            max(checkpoint.last_step(folder / "checkpoints"), 0) + math.ceil((images - seen) / recipe.train.batch)
        )
    return Budget(steps or (MOST_STEPS if minutes else recipe.train.steps), minutes)


def _read(where: str, recipe: Recipe, folder: Path, monitor: Monitor) -> Dataset:
    """The pictures, and a word on what was left out."""
    own = recipe.data
    pictures = prepare(
        open_source(where),
        size=own.size,
        channels=4 if own.backgrounds else own.channels,
        fit=own.fit,
        background=own.background,
        store=own.store,
        progress=monitor.preparing,
        cache=folder / record.CACHE,
    )
    height, width = pictures.stored.shape[-2:]
    classes = f" in {len(pictures.classes)} classes" if pictures.classes else ""
    monitor.say(f"{where}: {len(pictures):,} pictures of {width}×{height}{classes}")
    if pictures.classes and recipe.condition.kind in ("text", "learned", "nothing") and recipe.task == "denoise":
        monitor.say("note: there are classes, and this recipe does not tell them")
    for note in pictures.notes:
        monitor.say(f"note: {note}")
    if any(pictures.captions) and recipe.task == "denoise" and recipe.condition.kind not in ("text", "learned"):
        monitor.say("note: there are captions, and this recipe does not read them: condition.kind=text does")
    for skipped in pictures.skipped[:5]:
        monitor.say(f"  {skipped.name}: {skipped.reason}")
    return pictures


def _refuse_changes(
    before: dict[str, Any],
    about: dict[str, Any],
    made: dict[str, str],
    folder: Path,
    accept: bool,
    say: Callable[[str], None],
) -> None:
    """Raise a `ResumeError` if data, version, precision, or what was made for the run, is another than the run's; if
    that is accepted, only say so."""
    changes, altered = record.changes(before, about), list(record.altered(before, made, folder))
    for change in (*changes, *altered) if accept else ():
        say(f"note: accepted: {change}")
    if changes and not accept:
        raise ResumeError(
            f"this is not as the run was begun: {'; '.join(changes)}. --accept-changes goes on all the same"
        )
    if altered and not accept:
        raise ResumeError(f"{altered[0]}. --accept-changes goes on all the same")
