"""One run: what it needs first, then its training."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sfumato import logs, machine
from sfumato.data.dataset import Dataset
from sfumato.errors import ResumeError
from sfumato.train import processes, record
from sfumato.train.base_recipe import Recipe
from sfumato.train.compute import Compute
from sfumato.train.monitor import Guarded, Monitor
from sfumato.train.page import RunPage
from sfumato.train.plan import MOST_TRAINING_STEPS, Budget, TrainingPlan, check_disk, disk_needed
from sfumato.train.recipe import check_recipe
from sfumato.train.run_folder import RunFolder
from sfumato.train.tasks import TASKS, Task, Trainee
from sfumato.train.trainer import Trainer
from sfumato.wording import duration

_log = logs.EventLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A recipe in training on `dataset`, which was found at `where`, in a folder that is held; `before` is what was on
    record of the run, None of a new one. `accept_changes` goes on though that differs. Of a run that is only to be
    planned, `planned` is how many data there are, a few of which are in `dataset`."""

    recipe: Recipe
    budget: Budget
    where: str
    dataset: Dataset
    folder: RunFolder
    compute: Compute
    monitor: Monitor
    before: dict[str, Any] | None = None
    accept_changes: bool = False
    open_page: bool = False
    planned: int | None = None
    page: RunPage | None = None

    def make(self) -> Any:
        """What the run needs first, then its training; returns the artefact, or the plan if no more is wanted.

        It has its threads: those asked for, on record, or chosen."""
        with machine.threads(self.threads):
            return self._watched()

    @property
    def threads(self) -> int | None:
        """The number of threads asked for or on record; None if it is to be chosen."""
        return self.compute.threads or (self.before or {}).get("threads")

    def _watched(self) -> Any:
        """The same; the first process keeps the page of the run."""
        if not self.compute.is_main or self.planned is not None:
            return self._made()
        notes = TASKS[self.recipe.task].notes(self.recipe, self.dataset)
        with RunPage(self.folder, self.where, self.recipe, self.dataset, notes, self.open_page) as page:
            return replace(self, monitor=Guarded(self.monitor, page), page=page)._made()

    def _made(self) -> Any:
        """What the run needs, and its training.

        What is on record of a run is written over when all that it goes on with has been found to fit, and not before.
        """
        folder, main, began = self.folder, self.compute.is_main, time.monotonic()
        about, known = record.about(self.where, self.recipe, self.dataset, self.compute), folder.digests()
        self._refuse_changes(about, known)
        task = TASKS[self.recipe.task](self)
        trainee = self._prepare(task, about)
        about["made"] = folder.digests(known)
        self._refuse_changes(about, {name: mark for name, mark in about["made"].items() if mark != known.get(name)})
        budget = self._left(time.monotonic() - began)
        trainer = Trainer(self.recipe, trainee, folder, folder.artefact(task.leaves), self.compute, self.monitor)
        if (last := folder.last_checkpoint) is not None:
            trainer.resume(last)
        count, held = self.planned or len(self.dataset), len(self.dataset)
        plan = trainer.rehearse(budget, choose_threads=self.threads is None)
        plan = replace(plan, count=count, prepared=folder.prepared_size() * count // held)
        if main and task.previews and (text := plan.warning) is not None:
            _log.warning(text, event="short")
        if self.planned is not None:
            return self._only_plan(trainer, plan)
        trainer.recipe = self.recipe.planned(self.compute.agreed(plan.start + plan.steps))
        about |= {"recipe": trainer.recipe.dump(), "threads": self.compute.threads_in_use}
        if trainer.step < budget.steps:
            check_disk(folder.path, plan.disk)
        if main:
            self.monitor.plan(plan)
            folder.record(about)
            trainer.log.cut(-1 if last is None else trainer.step)
        if self.page is not None:
            self.page.begin(trainer.recipe, plan)
        trainer.run(budget)
        if main:
            made = f"{trainer.step:,} steps made" if trainer.step else "fitted in closed form"
            _log.info(f"{made}: {folder.artefact(task.leaves)}", event="done", step=trainer.step)
            _log.info(f"how it went: {folder.page}", event="page", path=str(folder.page))
        return trainer.artefact.to(self.compute.device, self.compute.precision)

    def dry(self) -> "Run":
        """The same run, to be planned only: with a few of its data, as if they were all."""
        count, most = len(self.dataset), max(2 * self.recipe.train.batch, 64)
        return replace(self, dataset=self.dataset.few(most), planned=count)

    def stage(self, name: str, recipe: Recipe, noun: str, time_share: float) -> None:
        """A run of its own in the folder `name` within this one's, on the same data, which makes `noun`; it resumes,
        unless it is finished. It has `time_share` of this run's minutes, or its recipe's own steps without any."""
        folder = self.folder.within(name)
        before = record.before(folder, resume=True) if folder.begun else None
        self.compute.wait()
        recipe = recipe if before is None else check_recipe(before["recipe"])
        minutes = None if self.budget.minutes is None else self.budget.minutes * time_share
        steps = recipe.train.steps if minutes is None or not recipe.train.steps else MOST_TRAINING_STEPS
        if folder.last_step >= steps and is_finished(recipe, folder):
            return
        length = f"{steps:,} steps" if minutes is None else duration(60 * minutes)
        _log.info(f"first {noun}, {length if steps else 'in closed form'}")
        if self.page is not None:
            self.page.waiting(f"first {noun}")
        budget = Budget(max(steps, folder.last_step), minutes)
        with alone(folder, self.compute, before):
            own = replace(self, recipe=recipe, budget=budget, folder=folder, before=before, accept_changes=False)
            replace(own, dataset=replace(self.dataset, conditioning=None), open_page=False).make()
        self.compute.accelerator.free_memory()

    def _prepare(self, task: Task, about: dict[str, Any]) -> Trainee:
        """Check that all can be built and has room, then make what is not there yet."""
        needs, folder = task.needs(), self.folder
        needed = disk_needed(task.check(), [folder.checkpoints, folder.artefact(task.leaves)])
        check_disk(folder.path, needed + sum(need.size for need in needs))
        self.compute.wait()  # no process makes anything before all have seen what is there
        for need in needs:
            if self.compute.is_main:
                folder.begin(about)
            need.make()
        return task.trainee()

    def _only_plan(self, trainer: Trainer, plan: TrainingPlan) -> TrainingPlan:
        """Show the plan; what the run would leave behind stays as it is at the start, for a run that needs it."""
        if self.compute.is_main:
            self.monitor.plan(plan)
            trainer.artefact.save(trainer.leaves)
        return plan

    def _left(self, seconds: float) -> Budget:
        """The budget without the `seconds` that codec, captions and latents took; a tenth of the minutes at least."""
        minutes = self.budget.minutes
        return self.budget if minutes is None else Budget(self.budget.steps, max(minutes - seconds / 60, 0.1 * minutes))

    def _refuse_changes(self, about: dict[str, Any], made: dict[str, str]) -> None:
        """Raise a `ResumeError` if data, version, precision, or what was made for the run, is another than the run's;
        if that is accepted, only say so."""
        if self.before is None:
            return
        changes = record.changes(self.before, about, self.dataset.medium.plural)
        altered = list(record.altered(self.before, made, self.folder))
        for change in (*changes, *altered) if self.accept_changes else ():
            _log.info(f"accepted: {change}")
        if changes and not self.accept_changes:
            raise ResumeError(
                f"this is not as the run was begun: {'; '.join(changes)}. --accept-changes goes on all the same"
            )
        if altered and not self.accept_changes:
            raise ResumeError(f"{altered[0]}. --accept-changes goes on all the same")


def is_finished(recipe: Recipe, folder: RunFolder) -> bool:
    """Whether a run of the recipe has left behind all that it was to at its last step."""
    task = TASKS[recipe.task]
    return folder.finished(task.leaves, task.previews)


@contextmanager
def alone(folder: RunFolder, compute: Compute, before: dict[str, Any] | None) -> Iterator[None]:
    """The run's folder for this training alone, as it was found; an error before the run is on record leaves nothing
    of it there. The first process holds the lock for all."""
    with ExitStack() as stack:
        with processes.all_or_none(compute.accelerator):
            if compute.is_main:
                stack.enter_context(folder.held())
                if folder.read_record() != before:
                    raise ResumeError(
                        f"{folder} is in use: its {folder.record_file.name} has just changed; see what it is now, and"
                        " try again"
                    )
                folder.clear()
        try:
            yield
        except BaseException:
            if compute.is_main and not folder.begun:
                for cache in folder.caches:
                    cache.unlink(missing_ok=True)
            raise
