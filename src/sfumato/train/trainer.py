"""The training loop."""

import copy
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sfumato import files, logs, machine
from sfumato.errors import NonFiniteError, OutOfMemoryError, Stopped, StorageError, WorkerError
from sfumato.loss import LossAwareTimes
from sfumato.media.image import png
from sfumato.nn.dropout import sample_seeds
from sfumato.train import checkpoint, ema, loader
from sfumato.train.base_recipe import Recipe
from sfumato.train.batches import Batch, Batches
from sfumato.train.clock import Clock
from sfumato.train.compute import Compute
from sfumato.train.log import Log
from sfumato.train.monitor import Monitor
from sfumato.train.plan import FEWEST, FEWEST_BEGUN, Budget, TrainingPlan, disk_needed, gflop
from sfumato.train.run_folder import RunFolder
from sfumato.train.signals import Stopper
from sfumato.train.tasks.protocol import Trainee
from sfumato.wording import shortened

_log = logs.EventLogger(__name__)
CLEARLY = 0.7
"""Of the seconds of a step: what fewer threads must be below, twice, to be taken."""
SLOWER = "lower optimizer.learning_rate"


class Trainer:
    """A trainee in training: the network, the average of its weights, the optimizer, and the step they are at.

    `artefact` is what will be left behind, with the average for its network.
    """

    def __init__(
        self, recipe: Recipe, trainee: Trainee, folder: RunFolder, leaves: Path, compute: Compute, monitor: Monitor
    ) -> None:
        self.recipe, self.trainee, self.monitor = recipe, trainee, monitor
        self.folder, self.leaves, self.compute = folder, leaves, compute
        self.step = self.seen = 0
        self._saved = -1
        nn.Module.to(trainee.model, compute.device)
        nn.Module.to(trainee.model, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.network: nn.Module = trainee.model.network
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.artefact = trainee.artefact(self.average)
        own = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=own.learning_rate,
            betas=own.betas,
            weight_decay=own.weight_decay,
            fused=compute.device.type in ("cpu", "cuda"),
        )
        # placed as it is: a model's own `to` may also choose a precision, which is for drawing
        self.model = compute.accelerator.prepare_model(trainee.model, device_placement=False)
        times, schedule = trainee.times, trainee.schedule
        self.memory = times.start(schedule) if isinstance(times, LossAwareTimes) else None
        self.log = Log(folder.log)
        self.plan: TrainingPlan | None = None
        self.workers = loader.WORKERS if compute.device.type == "cuda" else 0
        self.clock = Clock()
        self._whole = True  # weights, average and optimizer are of one step

    # The loop ---------------------------------------------------------------------------------------------------------

    def run(self, budget: Budget) -> None:
        """Train until the budget is spent, saving and showing by the clock; leaves a checkpoint and a system behind.

        The minutes count from when the trainer was made, and the last save and the last preview are among them; but one
        step is made in any case.
        """
        with Stopper() as stopper:
            self._train(budget, stopper)
            self.save()
            if stopper.signal is None:
                first = not self.folder.latest_preview.exists()
                self.show(lambda: stopper.signal is not None or self.clock.late(budget, first))
            if stopper.signal is not None:  # which may have come while the last preview was drawn
                text = f"stopped by a signal at step {self.step:,}; all is saved: --resume goes on from here"
                raise Stopped(text, stopper.signal)

    def _train(self, budget: Budget, stopper: Stopper) -> None:
        """The steps of a budget, up to a signal. An error leaves what was reached before it behind."""
        own = self.recipe.train
        start, saved, shown, logged = self.step, *[time.monotonic()] * 3
        # a twentieth of the time goes to previews, at most, but for the first where they are wanted at once
        pause = max(own.show_minutes * 60, 20 * self.clock.drawing) if own.show_minutes else 0.0
        losses: list[float] = []
        with self._kept(), closing(self._batches(budget.steps, stopper)) as batches:
            for batch in batches:
                over = self.step > start and self.clock.spent(budget)
                if self._agreed(over or stopper.signal is not None):
                    break
                losses.append(self._update(batch))
                now = time.monotonic()
                if now - logged >= 1 or self.step == budget.steps:
                    self._report(losses, now - logged, start, budget)
                    logged, losses = time.monotonic(), []
                if self._agreed(now - saved >= own.save_minutes * 60):
                    self.save()
                    saved = time.monotonic()
                if self._agreed(now - shown >= pause):
                    self.show(lambda: stopper.signal is not None or self.clock.spent(budget))
                    shown = logged = time.monotonic()
                    pause = max(own.show_minutes * 60, 20 * (shown - now))

    def rehearse(self, budget: Budget, choose_threads: bool = False) -> TrainingPlan:
        """What the run will cost, from one step made without a change to the weights; with `choose_threads`, by fewer
        threads where they are faster."""
        batch = self._dataset()[self.step]
        with self._kept(), self._memory_errors():
            self._timed(batch)  # the first call sets kernels up
            seconds = self._timed(batch)
            if choose_threads and self.compute.device.type == "cpu" and self.compute.processes == 1:
                seconds = self._with_threads(batch, seconds)
        self.optimizer.zero_grad()
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        self.plan = TrainingPlan(
            count=len(self.trainee.feed.dataset),
            plural=self._plural,
            parameters=parameters,
            gflop=gflop(self.trainee),
            batch=self.recipe.train.batch,
            start=self.step,
            budget=budget,
            seconds_a_step=max(seconds, 1e-6),
            machine=machine.name(self.compute.device),
            precision=self.compute.precision,
            peak=machine.peak(self.compute.device, self.compute.precision) * self.compute.processes,
            disk=disk_needed(parameters, [self.folder.checkpoints, self.leaves]),
            memory=machine.used(self.compute.device),
            recipe=self.recipe.about,
            least=FEWEST_BEGUN if getattr(self.recipe.train, "init_from", None) else FEWEST,
            size=self.trainee.feed.dataset.size,
        )
        self.clock.drawing = self.trainee.passes * max(seconds, 1e-6) / (3 * self.recipe.train.batch)
        return self.plan

    def _timed(self, batch: Batch) -> float:
        """Seconds that the gradients of a batch take."""
        began = time.monotonic()
        self._gradients(batch, self.step)
        return time.monotonic() - began

    def _with_threads(self, batch: Batch, seconds: float) -> float:
        """Take half of the threads, and half again, as long as a step takes clearly less than before: `seconds`. So
        it is where other programs hold the cores, and threads wait for one another. Returns the seconds of a step."""
        while (threads := torch.get_num_threads()) > 1:
            torch.set_num_threads(threads // 2)
            fewer = self._timed(batch)
            torch.set_num_threads(threads)
            if not (fewer < CLEARLY * seconds and fewer < CLEARLY * self._timed(batch)):  # once may be chance
                break
            torch.set_num_threads(threads // 2)
            _log.info(
                f"threads={threads // 2}: a step takes {fewer:.2g} s, and {seconds:.2g} s with {threads}, as other"
                " programs hold the cores; --threads takes another number"
            )
            seconds = fewer
        return seconds

    def _update(self, batch: Batch) -> float:
        """One step: gradients, checked; then weights, then their average. Returns the mean loss."""
        with self._memory_errors():
            t, losses = self._gradients(batch, self.step)
        loss = float(losses.mean())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip)
        if not bool(norm.isfinite()):
            raise NonFiniteError(
                f"the gradient at step {self.step} is not finite, though the loss is {loss:g}; the weights are as"
                f" before the step: {self._slower()}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.optimizer.rate(self.step + 1)
        self._whole = False
        with self._memory_errors():
            self.optimizer.step()
        self.step += 1
        self.seen += self.recipe.train.batch
        ema.update(self.average.parameters(), self.network.parameters(), self.recipe.average.decay(self.step))
        if self.memory is not None:
            assert isinstance(self.trainee.times, LossAwareTimes)
            self.memory = self.trainee.times.remember(self.memory, t, losses)
        self._whole = True
        return loss

    def _gradients(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Gradients of the mean loss over the batch, in `accumulate` parts; a loss that is not finite is an error.

        Returns the times and the losses of every process's samples, in the order of the batch, on the CPU.
        """
        self.model.train()
        self.optimizer.zero_grad()
        times, losses = [], []
        for part in batch.parts(self.recipe.train.accumulate):
            t, factor = self._times(part)
            loss = self._losses(part, t)
            ((loss * factor).sum() / len(batch.sample)).backward()
            times.append(t)
            losses.append(loss.detach())
        t, every = self._gathered(torch.cat(times).to(torch.float32)), self._gathered(torch.cat(losses))
        if not bool(every.isfinite().all()):
            self._refuse(batch, every, step)
        return t.cpu(), every.cpu()

    def _refuse(self, batch: Batch, losses: Tensor, step: int) -> None:
        """Raise a `NonFiniteError` that names the samples whose loss it is, and where it came from."""
        index, sound = self._gathered(batch.sample), self._gathered(batch.x_0.isfinite().flatten(1).all(1))
        ill = ~losses.isfinite()
        names = [self.trainee.feed.dataset.names[int(i)] for i in index[ill].tolist()]
        where = f"for {len(names)} of {len(losses)} {self._plural} ({', '.join(names[:3])})"
        if not bool(sound[ill].all()):
            raise NonFiniteError(f"what is trained on is not finite {where}; {self.trainee.feed.remedy}")
        raise NonFiniteError(
            f"the loss at step {step} is not finite {where}; the weights are as before the step: {self._slower()}"
        )

    def _gathered(self, values: Tensor) -> Tensor:
        """A number of each sample [b], of every process, in the order of the batch: as `Batches` shares them out."""
        every = self.compute.accelerator.gather(values.to(self.compute.device))
        assert isinstance(every, Tensor)
        return every.unflatten(0, (self.compute.processes, -1)).T.flatten()

    def _slower(self) -> str:
        float32 = ", or train in float32" if self.compute.precision != "float32" else ""
        return f"{SLOWER}{float32}"

    def _times(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The time of each sample, and what its loss is multiplied by: both [b]."""
        times, schedule = self.trainee.times, self.trainee.schedule
        if self.memory is None:
            return times(schedule, batch.u), torch.ones(len(batch.u), device=self.compute.device)
        assert isinstance(times, LossAwareTimes)
        t, factor = times.draw(schedule, batch.u, self.memory)
        return t, factor.to(self.compute.device, torch.float32)

    def _losses(self, batch: Batch, t: Tensor) -> Tensor:
        """The loss of each sample, [b]."""
        device = self.compute.device
        x_0 = batch.x_0.to(device, non_blocking=True)
        noise = batch.noise.to(device, non_blocking=True)
        condition = batch.condition.map(lambda value: value.to(device, non_blocking=True))
        inputs = self.trainee.inputs(x_0, noise, t, condition)
        precision = torch.autocast(device.type, torch.bfloat16, enabled=self.compute.precision == "bfloat16")
        with sample_seeds(batch.seed.to(device)), precision:
            outputs = self.model(*inputs)
        return self.trainee.loss(outputs, x_0, condition)

    # Keeping and showing ----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint to resume from, and the artefact as it is now."""
        began = time.monotonic()
        if self.compute.is_main:
            self._write()
        self.compute.wait()
        self.clock.saving = time.monotonic() - began

    def _write(self) -> None:
        with machine.memory_errors("saving does not fit the memory, which a copy of the weights is to have: free some"):
            if self.step != self._saved:
                state = self.network, self.average, self.optimizer, self.memory
                checkpoint.save_checkpoint(self.folder.checkpoints, self.step, *state, self.seen)
                self._saved = self.step
                _log.info(f"step {self.step:,} saved", event="saved", step=self.step)
            self.artefact.about = {
                "recipe": self.recipe.about,
                "steps": self.step,
                f"{self._plural} seen": self.seen,
            }
            self.artefact.save(self.leaves)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """What is reached before an error is saved, and an error of ours says so."""
        start = self.step
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            kept = self._rescue(start)
            if not isinstance(error, NonFiniteError | OutOfMemoryError | WorkerError):
                if kept:
                    _log.info(kept)
                raise
            if kept and SLOWER in str(error):
                rate = self.recipe.optimizer.learning_rate / 2
                kept += f" --set optimizer.learning_rate={rate:g} --accept-changes"
            raise type(error)("; ".join(filter(None, [str(error), kept]))) from error

    def _rescue(self, start: int) -> str:
        """Save what was reached since `start`, if it is whole and finite; says what there is to go on from."""
        own = [*self.network.parameters(), *self.average.parameters()]
        if self.step > start and self._whole and all(bool(tensor.isfinite().all()) for tensor in own):
            with suppress(Exception):  # the error that led here is the one to report
                if self.compute.is_main:
                    self._write()
        last = checkpoint.last_step(self.folder.checkpoints)
        return f"step {last:,} is saved, and goes on by --resume" if last >= 0 else ""

    def resume(self, path: Path) -> None:
        """Take up the state in a checkpoint."""
        self.step, self.memory = checkpoint.load_checkpoint(
            path, self.network, self.average, self.optimizer, self.memory
        )
        self.seen, self._saved = checkpoint.samples_seen(path, self.recipe.train.batch), self.step

    def show(self, stop: Callable[[], bool] = lambda: False) -> Path | None:
        """A preview from fixed seeds, drawn with the average of the weights; given up once `stop` says so.

        It is only to look at: an error is a note, and there is no preview.
        """
        if not self.compute.is_main:
            return None
        began = time.monotonic()
        try:
            preview = self.trainee.preview(self.artefact, stop)
            if preview is None:
                return None
            path, data = self.folder.preview(self.step), png(*preview)
            files.write_bytes(path, data)
            self.folder.keep_latest(data)
        except Exception as error:
            why = "memory is short" if machine.is_short(error) else str(error) or type(error).__name__
            _log.warning(f"no samples of step {self.step:,}: {shortened(why, 200)}")
            return None
        self.clock.drawing = time.monotonic() - began
        _log.info(f"samples of step {self.step:,}: {path}", event="preview", step=self.step, path=str(path))
        return path

    @property
    def _plural(self) -> str:
        """What the data are, in messages."""
        return self.trainee.feed.dataset.medium.plural

    def _report(self, losses: list[float], seconds: float, start: int, budget: Budget) -> None:
        """One line to the log and to whoever looks on."""
        if not self.compute.is_main or not losses:
            return
        rate = len(losses) * self.recipe.train.batch / max(seconds, 1e-9)
        loss = float(np.mean(losses))
        elapsed = self.clock.elapsed
        speed = {f"{self._plural}_a_second": round(rate, 1)}
        if self.plan is not None:
            speed["share_of_peak"] = round(self.plan.share(rate), 4)
        self.log.write(step=self.step, loss=loss, **speed, seconds=round(elapsed, 1))
        left, share = self.clock.left(budget, (self.step - start) / max(budget.steps - start, 1))
        self.monitor.step(self.step, loss, rate, left, share)

    # Small parts ------------------------------------------------------------------------------------------------------

    def _dataset(self) -> Batches:
        return Batches(
            self.trainee.feed,
            self.trainee.shape,
            seed=self.recipe.train.seed,
            batch=self.recipe.train.batch,
            dropout=self.trainee.dropout,
            conditioner=self.trainee.conditioner,
            process=self.trainee.process,
            rank=self.compute.accelerator.process_index,
            world=self.compute.processes,
        )

    def _batches(self, last: int, stopper: Stopper) -> Generator[Batch]:
        """The batches of the steps still to make; made ahead by workers where a GPU would wait for them."""
        ahead = self.compute.device.type == "cuda"
        stop = lambda: stopper.signal is not None  # noqa: E731
        return loader.batches(self._dataset(), range(self.step, last), self.workers, ahead, stop)

    def _memory_errors(self) -> AbstractContextManager[None]:
        """Running out of memory in a step, as an error that says what to set."""
        own = self.recipe.train
        smaller = f"train.accumulate={own.accumulate * 2} (the same result in smaller parts), or "
        return machine.memory_errors(
            f"a batch of {own.batch} in {own.accumulate} parts does not fit the memory: set"
            f" {smaller if own.batch % (own.accumulate * 2) == 0 else ''}train.batch lower"
        )

    def _agreed(self, decision: bool) -> bool:
        """The first process's decision, so that all save and stop at the same step."""
        return self.compute.agreed(decision)
