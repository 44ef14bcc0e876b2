"""The front door of training: check everything, say the cost, train."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from sfumato import disk, files, machine, system_file
from sfumato.classifier import NoisyClassifier
from sfumato.data.prepare import Pictures, prepare
from sfumato.data.source import open_source
from sfumato.errors import FormatError, InputError, ResumeError
from sfumato.library import find
from sfumato.system import System
from sfumato.train import checkpoint
from sfumato.train import recipe as recipes
from sfumato.train.autoencode import FittedCodec
from sfumato.train.monitor import Guarded, Monitor, Quiet
from sfumato.train.place import Place
from sfumato.train.plan import Budget, check_disk
from sfumato.train.recipe import Recipe, differences
from sfumato.train.signals import interruptible
from sfumato.train.stage import (
    CODEC,
    FITTING,
    GIVEN,
    TOKENIZER,
    check_codec,
    codec_digest,
    copy_codec,
    fitting,
    kept,
    work,
)
from sfumato.train.trainer import Trainer

FORMAT = 1
CACHE = "pictures.npy"
RECORD = "run.json"
MOST_STEPS = 10**8
LONGEST_WAIT = timedelta(days=2)
"""For the process that computes all latents, or draws a sheet, while the others wait."""


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
    before = _before(folder, resume)
    if data is None and before is None:
        raise InputError("what to train on? give a folder of pictures, a .zip, a .npz, or a name such as digits")
    chosen = _recipe(recipe, settings, before, accept_changes)
    budget = _budget(chosen, steps, images, minutes)
    _check_stages(chosen, before, folder)
    if (made := checkpoint.made(folder / "checkpoints")) >= budget.steps:
        raise InputError(f"{folder} has made {made:,} steps already, and {budget.steps:,} are asked for in all")
    accelerator = _accelerator(device)
    for stage in (chosen, fitting(chosen)) if _to_be_fitted(chosen, folder) else (chosen,):
        _check_shares(stage, accelerator.num_processes)
    computes = machine.pick_precision(accelerator.device, precision)
    accelerator.wait_for_everyone()  # no process writes to the folder before all have found it as it was
    monitor = Guarded(monitor) if monitor is not None and accelerator.is_main_process else Quiet()
    with monitor, interruptible(monitor.say, folder / RECORD), _whole_or_nothing(folder), _memory_errors():
        where = str(data) if data is not None else str((before or {})["data"])
        pictures = _read(where, chosen, folder, monitor)
        place = Place(folder, accelerator, computes)
        return _run(chosen, budget, where, pictures, place, monitor, before, accept_changes)


def _run(
    recipe: Recipe,
    budget: Budget,
    where: str,
    pictures: Pictures,
    place: Place,
    monitor: Monitor,
    before: dict[str, Any] | None,
    accept_changes: bool = False,
) -> Any:
    """One run, once its pictures are read: what it needs first, then its training. Returns what it leaves behind."""
    folder, main = place.folder, place.accelerator.is_main_process
    about = _about(where, recipe, pictures, place)
    if before is not None and not accept_changes:
        _refuse_changes(before, about)
    began = time.monotonic()
    begin = partial(files.write_json, folder / RECORD, about) if main else lambda: None
    fit = partial(_fit_codec, recipe, budget, where, pictures, place, monitor)
    task = work(recipe, pictures, place, monitor, begin, fit, budget.minutes)
    if recipe.codec.kind == "latent":
        about["codec"] = codec_digest(folder)
        if before is not None and not accept_changes and before.get("codec") not in (None, about["codec"]):
            raise ResumeError(f"the codec in {folder / CODEC} is not the one that this run was trained in: put it back")
    if budget.minutes is not None:  # the time that the codec, captions and latents took is part of it
        left = budget.minutes - (time.monotonic() - began) / 60
        budget = Budget(budget.steps, max(left, 0.1 * budget.minutes))
    trainer = Trainer(recipe, task, place, monitor)
    _resume(trainer, folder / "checkpoints")
    plan = replace(trainer.rehearse(budget), kept=kept(folder))
    check_disk(folder, plan.disk)
    if main:
        monitor.plan(plan)
        files.write_json(folder / RECORD, about)
    trainer.run(budget)
    if main:
        monitor.say(f"{trainer.step:,} steps made: {folder / task.name}")
    return trainer.product.to(place.device, place.precision)


def _check_stages(recipe: Recipe, before: dict[str, Any] | None, folder: Path) -> None:
    """Raise an error for a codec that cannot be had, or for what cannot be had any more; before data is read."""
    has_codec = (folder / CODEC / system_file.CODEC).exists()
    if before is not None:
        own = recipes.check(before["recipe"])
        if has_codec and own.codec != recipe.codec:
            raise ResumeError(f"{folder} has its codec already: [codec] cannot be changed any more")
        if (folder / TOKENIZER).exists() and own.condition.vocabulary != recipe.condition.vocabulary:
            raise ResumeError(f"{folder} has its tokenizer already: condition.vocabulary cannot be changed any more")
    if recipe.train.start is not None and checkpoint.made(folder / "checkpoints") < 0:
        find(recipe.train.start)
    if recipe.codec.kind == "latent" and not has_codec and not (folder / FITTING / RECORD).exists():
        check_codec(recipe)
    if recipe.task == "autoencode" and not (folder / GIVEN).exists() and checkpoint.made(folder / "checkpoints") < 0:
        check_codec(recipe)


def _fit_codec(recipe: Recipe, budget: Budget, where: str, pictures: Pictures, place: Place, monitor: Monitor) -> None:
    """The first stage: put the run's codec into its folder, from the folder that the recipe names or by a run of its
    own."""
    own, folder = recipe.codec, place.folder / FITTING
    if own.use is None:
        before = _before(folder, resume=True) if (folder / RECORD).exists() else None
        stage = fitting(recipe) if before is None else recipes.check(before["recipe"])
        minutes = None if budget.minutes is None else budget.minutes * own.share
        steps = stage.train.steps if minutes is None else MOST_STEPS
        monitor.say(f"first the codec, {f'{steps:,} steps' if minutes is None else f'{minutes:g} minutes'}")
        if checkpoint.made(folder / "checkpoints") < steps:
            within = Place(folder, place.accelerator, place.precision)
            _run(stage, Budget(steps, minutes), where, pictures, within, monitor, before)
            place.accelerator.free_memory()
    if place.accelerator.is_main_process:
        copy_codec(folder if own.use is None else own.use, place.folder / CODEC)
    place.accelerator.wait_for_everyone()


def _memory_errors() -> AbstractContextManager[None]:
    """For what a step does not say better."""
    return machine.memory_errors(
        "what is trained on does not fit the memory: end other programs, set data.size smaller, or a smaller network"
    )


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[None]:
    """An error before the run is on record leaves nothing of it in the folder."""
    try:
        yield
    except BaseException:
        if not (folder / RECORD).exists():
            (folder / CACHE).unlink(missing_ok=True)
            with suppress(OSError):  # a folder that is not empty, or was never made
                folder.rmdir()
        raise


def _before(folder: Path, resume: bool) -> dict[str, Any] | None:
    """What is on record of the run in `folder`; None for a new one. A folder in use is never written over."""
    record = folder / RECORD
    if not resume:
        if folder.exists() and (not folder.is_dir() or any(map(_counts, folder.iterdir()))):
            hint = "--resume goes on with it; or " if record.exists() else ""
            raise InputError(f"{folder} is not empty: {hint}choose a new folder with --out")
        disk.check_writable(folder)
        disk.clear_parts(folder, alone=True)
        return None
    if not record.exists():
        raise ResumeError(f"there is no run to resume in {folder}: it holds no run.json")
    before = files.read_json(record)
    if before.get("format") != FORMAT:
        raise ResumeError(
            f"{record} is in format {before.get('format')!r}; this version of Sfumato reads format {FORMAT}"
        )
    try:
        recipes.check(before["recipe"])
        if not isinstance(before["data"], str):
            raise InputError(f"'data' should be a text, not {before['data']!r}")
    except (InputError, KeyError, TypeError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FormatError(f"{record} is damaged: {detail}") from error
    disk.clear_parts(folder, alone=True)
    return before


def _counts(path: Path) -> bool:
    """Whether a file means that its folder is in use; what a start that was killed left behind does not."""
    return path.name != CACHE and not path.name.endswith(".part")


def _accelerator(device: str | None) -> Accelerator:
    """accelerate's view of the machine, on the kind of device asked for; which one of several is its own to say."""
    kind = machine.pick_device(device).type
    patience = InitProcessGroupKwargs(timeout=LONGEST_WAIT)
    accelerator = Accelerator(cpu=kind == "cpu", kwargs_handlers=[patience])
    if accelerator.device.type != kind:
        raise InputError(f"training takes the device {accelerator.device.type} here, not {kind}")
    return accelerator


def _to_be_fitted(recipe: Recipe, folder: Path) -> bool:
    """Whether a run has its codec still to fit."""
    own = recipe.codec
    return own.kind == "latent" and own.use is None and not (folder / CODEC / system_file.CODEC).exists()


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
        return recipes.load(name or "ddpm", settings)
    own = recipes.check(before["recipe"])
    if name is None:
        asked = recipes.lay_over(own.dump(), settings)
    else:
        asked = recipes.load(name, settings)
    changes = differences(own.dump(), asked.dump())
    if changes and not accept_changes:
        raise ResumeError(
            f"the recipe differs from the run's: {'; '.join(changes)}. --accept-changes goes on with them"
        )
    return asked


def _budget(recipe: Recipe, steps: int | None, images: int | None, minutes: float | None) -> Budget:
    """When to stop, from what was asked or else from the recipe."""
    given = {"steps": steps, "images": images, "minutes": minutes}
    for name, value in given.items():
        if value is not None and not (math.isfinite(value) and 0 < value <= MOST_STEPS):
            raise InputError(f"--{name} must be more than 0 and at most {MOST_STEPS:,}, not {value:g}")
    if sum(value is not None for value in given.values()) > 1:
        raise InputError("give one of --steps, --images and --minutes, not several")
    if images is not None:
        return Budget(math.ceil(images / recipe.train.batch))
    return Budget(steps or (MOST_STEPS if minutes else recipe.train.steps), minutes)


def _read(where: str, recipe: Recipe, folder: Path, monitor: Monitor) -> Pictures:
    """The pictures, and a word on what was left out."""
    own = recipe.data
    pictures = prepare(
        open_source(where),
        size=own.size,
        channels=4 if own.backgrounds else own.channels,
        fit=own.fit,
        background=own.background,
        progress=monitor.preparing,
        cache=folder / CACHE,
    )
    height, width = pictures.pixels.shape[-2:]
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


def _about(where: str, recipe: Recipe, pictures: Pictures, place: Place) -> dict[str, Any]:
    """What `run.json` records: all that decides the weights."""
    return {
        "format": FORMAT,
        "sfumato": version("sfumato"),
        "data": where,
        "fingerprint": pictures.fingerprint,
        "contents": pictures.contents,
        "precision": place.precision,
        "left_out": [skipped.name for skipped in pictures.skipped],
        "recipe": recipe.dump(),
    }


def _refuse_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a `ResumeError` if the data, the version or the precision is another than the run's."""
    keys = ("sfumato", "fingerprint", "precision", "left_out")
    if before.get("contents") is not None and before["fingerprint"] == now["fingerprint"]:
        keys = (*keys, "contents")  # runs that were begun before it was recorded have none
    if changes := differences({key: before.get(key) for key in keys}, {key: now[key] for key in keys}):
        raise ResumeError(
            f"this is not as the run was begun: {'; '.join(changes)}. --accept-changes goes on all the same"
        )


def _resume(trainer: Trainer, checkpoints: Path) -> None:
    """Take up the newest checkpoint; a run that was killed before its first begins again."""
    found = checkpoint.found(checkpoints)
    if found:
        trainer.resume(found[-1])
    else:
        trainer.log.cut(-1)
