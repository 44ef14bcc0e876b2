"""A training that ends before its time: by a signal, by what is not finite, by want of memory or of a worker."""

import json
import logging
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import FIT, begin, checkpoints, equal, last_step, newest, tensors, trainer, weights

from sfumato import machine
from sfumato.errors import NonFiniteError, OutOfMemoryError, Stopped, WorkerError
from sfumato.system import System
from sfumato.train import clock, loader
from sfumato.train.clock import Clock
from sfumato.train.monitor import Quiet
from sfumato.train.plan import Budget
from sfumato.train.signals import Stopper, interruptible
from sfumato.train.trainer import Trainer

STOPPING = ["SIGINT", "SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.skipif(os.name == "nt", reason="POSIX"))]


@pytest.fixture(autouse=True)
def messages(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged; nothing is left out."""
    caplog.set_level(logging.INFO, "sfumato")
    return caplog


class Signalling(Quiet):
    """A monitor that sends a signal once one thing is being prepared."""

    def __init__(self, during: str = "", number: int = signal.SIGTERM) -> None:
        self.during, self.number = during, number

    def preparing(self, done: int, total: int, what: str = "reading pictures") -> None:
        if what == self.during:
            self.during = ""
            signal.raise_signal(self.number)


# Signals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STOPPING)
def test_what_is_under_way_is_abandoned_and_the_signal_named(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    number, before = getattr(signal, name), signal.getsignal(getattr(signal, name))
    with pytest.raises(Stopped, match="^stopped by a signal; nothing was begun$") as stopped:
        with interruptible(tmp_path / "none"):
            signal.raise_signal(number)
            pytest.fail("it goes on")
    assert stopped.value.signal == number and caplog.messages == ["stopping"] and signal.getsignal(number) == before
    with pytest.raises(Stopped, match="--resume goes on from what is kept$"), interruptible(tmp_path):
        signal.raise_signal(number)


def test_an_interruption_that_is_no_signal_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible(tmp_path):
        raise KeyboardInterrupt


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_terminal_that_closes_may_say_so_twice(caplog: pytest.LogCaptureFixture) -> None:
    with Stopper() as stopper:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert stopper.signal == signal.SIGHUP
    assert caplog.messages == ["stopping: saving what there is; a second signal ends at once"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_closed_terminal_that_is_to_be_ignored_is_ignored(tmp_path: Path) -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(tmp_path), Stopper() as stopper:
            signal.raise_signal(signal.SIGHUP)
        assert stopper.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(self: Trainer) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it goes on")

    monkeypatch.setattr(Trainer, "_write", twice)
    with pytest.raises(Stopped):
        begin(data, tmp_path / "run", steps=2)
    assert not checkpoints(tmp_path / "run") and not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize("during", ["reading pictures", "fitting the layout", "encoding pictures"])
def test_a_signal_is_heard_while_a_training_is_prepared(
    during: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, monitor = tmp_path / "run", Signalling(during)
    codec = ["codec.kind=latent", f"codec.settings={json.dumps([*FIT, 'train.steps=1'])}"]
    settings = [*(codec if during == "encoding pictures" else []), "condition.layout=2"]
    with pytest.raises(Stopped) as stopped:
        begin(data, out, *settings, steps=2, monitor=monitor)
    assert stopped.value.signal == signal.SIGTERM and "stopping" in caplog.messages and not checkpoints(out)
    if during == "encoding pictures":
        assert not list(out.glob("latents-*")) and (out / "codec").exists()
        begin(None, out, resume=True, steps=2)
    else:
        assert not out.exists()


def test_a_signal_while_the_codec_is_fitted_saves_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, update = tmp_path / "run", Trainer._update

    def stopped(self: Trainer, batch: Any) -> float:
        loss = update(self, batch)
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return loss

    monkeypatch.setattr(Trainer, "_update", stopped)
    with pytest.raises(Stopped, match="at step 2; all is saved"):
        begin(data, out, "codec.kind=latent", f"codec.settings={json.dumps([*FIT, 'train.steps=9'])}", steps=2)
    assert last_step(out / "autoencoder") == 2


def test_a_sheet_is_abandoned_when_a_signal_comes(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, made, stream = [], [], System.stream

    def stopped(self: System, *arguments: Any, **options: Any) -> Iterator[Any]:
        for frame in stream(self, *arguments, **options):
            frames.append(frame)
            made.append(frame.total)
            if len(frames) == 1:
                signal.raise_signal(signal.SIGTERM)
            yield frame

    monkeypatch.setattr(System, "stream", stopped)
    with pytest.raises(Stopped, match="at step 2; all is saved") as stop:
        begin(data, tmp_path / "run", "settings.steps=50", steps=2)
    assert stop.value.signal == signal.SIGTERM and len(frames) == 1 and made == [50]
    assert last_step(tmp_path / "run") == 2 and not (tmp_path / "run" / "samples").exists()
    assert any(text.startswith("stopping: saving") for text in caplog.messages)


@pytest.mark.parametrize("error", [UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates"), MemoryError(), OSError()])
def test_a_sheet_that_fails_is_a_note(
    error: Exception,
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("sfumato.train.trainer.png", fail)
    begin(data, tmp_path / "run", "train.show_minutes=0", steps=2)
    notes = [text for text in caplog.messages if text.startswith("no samples of step ")]
    assert len(notes) >= 2 and all("\n" not in note for note in notes) and last_step(tmp_path / "run") == 2


# Minutes --------------------------------------------------------------------------------------------------------------


def test_the_last_save_and_the_last_sheet_are_within_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(at=0.0, monotonic=lambda: now.at)
    monkeypatch.setattr(clock, "time", now)
    own, budget = Clock(), Budget(100, 10.0)
    own.saving, own.drawing = 8.0, 10.0
    now.at = 579.0
    assert not own.spent(budget) and own.left(budget, 0.0)[0] == pytest.approx(21)
    now.at = 580.0
    assert own.spent(budget) and own.left(budget, 0.0) == (pytest.approx(20), 1.0)
    assert not own.spent(Budget(100)) and own.left(Budget(100), 0.5) == (pytest.approx(600), 0.5)
    own.drawing = 9e9
    assert not Clock().spent(budget) and own.spent(budget), "half the minutes are for training"
    assert not own.late(budget)
    now.at = 663.0
    assert own.late(budget) and not own.late(Budget(100)) and not own.late(budget, first=True)
    now.at = 903.0
    assert own.late(budget, first=True)


def test_a_sheet_that_takes_too_long_is_given_up(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "late", lambda self, budget, first: True)
    begin(data, tmp_path / "run", minutes=0.001)
    assert last_step(tmp_path / "run") >= 1 and not (tmp_path / "run" / "samples").exists()


def test_what_a_sheet_will_take_is_known_before_the_first(data: Path, tmp_path: Path) -> None:
    own = trainer(data, tmp_path, "settings.steps=30", "settings.guidance=2.0")
    plan = own.rehearse(Budget(3, 1.0))
    assert own.trainee.passes == 24 * 30 * 2, "three classes by eight seeds, with and without what is asked for"
    assert own.clock.drawing == pytest.approx(own.trainee.passes * plan.seconds_a_step / 8 / 3)


@pytest.mark.parametrize(("seconds", "taken"), [({4: 1.0, 2: 0.6, 1: 0.5}, 2), ({4: 1.0, 2: 0.8, 1: 0.1}, 4)])
def test_fewer_threads_are_taken_where_they_are_clearly_faster(
    seconds: dict[int, float], taken: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trainer(data, tmp_path)
    monkeypatch.setattr(own, "_timed", lambda batch: seconds[torch.get_num_threads()])
    with machine.threads(4):
        plan = own.rehearse(Budget(3))
        assert torch.get_num_threads() == 4 and plan.seconds_a_step == 1.0, "not where the number is fixed"
        plan = own.rehearse(Budget(3), choose_threads=True)
        assert torch.get_num_threads() == taken and plan.seconds_a_step == seconds[taken]


# Errors of a step -----------------------------------------------------------------------------------------------------


def fails_at(own: Trainer, step: int, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
    """At a step the loss is not finite, or there is an error."""
    honest = own.trainee.loss

    def loss(*arguments: Any) -> Any:
        if own.step < step:
            return honest(*arguments)
        if error is not None:
            raise error
        return honest(*arguments) * math.nan

    monkeypatch.setattr(own.trainee, "loss", loss)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            None,
            NonFiniteError,
            r"before the step: lower optimizer.learning_rate; step 2 is saved, and goes on by --resume --set"
            r" optimizer.learning_rate=0.0005 --accept-changes$",
        ),
        (MemoryError(), OutOfMemoryError, "or train.batch lower; step 2 is saved, and goes on by --resume$"),
        (ZeroDivisionError("mine"), ZeroDivisionError, "^mine$"),
    ],
)
def test_an_error_of_a_step_leaves_the_state_before_it(
    error: Exception | None, kind: type[Exception], text: str, data: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Though nothing was to be saved for another five minutes."""
    well, ill = trainer(data, tmp_path / "well"), trainer(data, tmp_path / "ill")
    well.run(Budget(2))
    fails_at(ill, 2, monkeypatch, error)
    with pytest.raises(kind, match=text):
        ill.run(Budget(5))
    assert ill.step == 2 and equal(tensors(newest(tmp_path / "ill")), tensors(newest(tmp_path / "well")))
    assert (tmp_path / "ill" / "system" / "system.json").exists()


def test_the_command_that_is_named_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(data, tmp_path / "one")
    with monkeypatch.context() as patch, pytest.raises(NonFiniteError) as error:
        fails_at(own, 2, patch)
        own.run(Budget(5))
    words = str(error.value).rpartition("--resume ")[2].split()
    assert words == ["--set", "optimizer.learning_rate=0.0005", "--accept-changes"]
    begin(data, tmp_path / "run", steps=2)
    begin(None, tmp_path / "run", words[1], resume=True, accept_changes=True, steps=3)


def test_weights_that_are_not_finite_are_not_saved(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(data, tmp_path)
    own.run(Budget(1))
    step = own.optimizer.step

    def ruin(*arguments: Any) -> Any:
        answer = step(*arguments)
        with torch.no_grad():
            next(iter(own.network.parameters())).fill_(math.inf)
        return answer

    monkeypatch.setattr(own.optimizer, "step", ruin)
    with pytest.raises(NonFiniteError, match="step 1 is saved, and goes on by --resume"):
        own.run(Budget(5))
    assert last_step(tmp_path) == 1


def test_half_a_step_is_not_saved(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(data, tmp_path)
    own.run(Budget(1))
    own.step = 1

    def fail(*_: Any) -> None:
        own.step += 1  # as if it had come later
        raise MemoryError

    monkeypatch.setattr(own.optimizer, "step", fail)
    with pytest.raises(OutOfMemoryError, match="step 1 is saved"):
        own.run(Budget(5))
    assert last_step(tmp_path) == 1


def test_latents_that_are_not_finite_are_to_be_made_again(data: Path, tmp_path: Path) -> None:
    """The learning rate cannot mend them."""
    own = trainer(data, tmp_path, "train.batch=24")
    honest = own.trainee.feed.samples
    own.trainee.feed.samples = lambda index, view: honest(index, view) * math.nan  # type: ignore[method-assign]
    own.trainee.feed.remedy = "delete latents-1.npy"  # type: ignore[misc]
    with pytest.raises(
        NonFiniteError, match=r"^what is trained on is not finite for 24 of .*\); delete latents-1.npy$"
    ):
        own.run(Budget(2))


# Workers --------------------------------------------------------------------------------------------------------------


def hurt(own: Trainer, step: int, act: Any) -> None:
    """A worker of the trainer's does something in the place of the batch of a step."""
    main, make = os.getpid(), own._dataset

    class Hurt:
        def __init__(self) -> None:
            self.batches = make()

        def __getitem__(self, k: int) -> Any:
            if k == step and os.getpid() != main:
                act()
            return self.batches[k]

    own._dataset = Hurt  # type: ignore[method-assign,assignment]
    own.workers = 2


pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"makes batches ahead ended \(SIGKILL\), before step \d"),
        (lambda: time.sleep(99), r"have given none for 0\.\d+ s, before step 4: is the disk"),
    ],
)
def test_a_worker_that_dies_or_hangs_is_one_error_and_all_is_saved(
    act: Any, text: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "SECONDS_A_LOOK", 0.3)
    monkeypatch.setattr(loader, "PATIENCE", 2)
    own = trainer(data, tmp_path)
    hurt(own, 4, act)
    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(WorkerError, match=text):
        own.run(Budget(9))
    assert last_step(tmp_path) == own.step and own.step >= 1
    assert not [child for child in loader.multiprocessing.active_children() if child.is_alive()]
    assert signal.getsignal(signal.SIGCHLD) == before or before == signal.SIG_DFL


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_worker_that_dies_as_its_tensors_are_fetched_is_the_same_error(error: Exception) -> None:
    worker = loader.multiprocessing.get_context("spawn").Process(target=time.sleep, args=(99,))
    worker.start()

    def batches() -> Iterator[Any]:
        worker.kill()
        raise error
        yield

    with pytest.raises(WorkerError, match=r"makes batches ahead ended \(SIGKILL\), before step 7"):
        loader._next(batches(), [worker], 7, lambda: False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_workers_change_no_number(data: Path, tmp_path: Path) -> None:
    one, two = trainer(data, tmp_path / "one"), trainer(data, tmp_path / "two")
    two.workers = 2
    for own in (one, two):
        own.run(Budget(3))
    assert equal(weights(one), weights(two))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_a_signal_is_heard_while_a_worker_hangs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "SECONDS_A_LOOK", 0.3)
    own = trainer(data, tmp_path)
    hurt(own, 4, lambda: (os.kill(os.getppid(), signal.SIGTERM), time.sleep(99)))
    with pytest.raises(Stopped, match=r"at step [0-4]; all is saved"):  # the workers may be ahead of the first step
        own.run(Budget(9))
