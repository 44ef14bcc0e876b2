"""What looks on: it shows what happens, and whatever it suffers, the work goes on."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_runs import SMALL, begin, digest, last_step, newest

from sfumato import logs
from sfumato.train.log import Log
from sfumato.train.monitor import Guarded, Logged, Quiet, Terminal
from sfumato.wording import is_live


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("sfumato.train.monitor.time.monotonic", lambda: self.now)


class Typewriter(io.StringIO):
    """A file that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


# What is shown --------------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, all of it."""
    caplog.set_level(logging.INFO, "sfumato")
    return caplog


def test_a_log_gets_a_line_every_half_minute_while_a_training_is_prepared(
    logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with Logged() as monitor:
        for i in range(100):
            clock.now += 10
            monitor.preparing(i, 100, what="encoding pictures")
    assert logged.messages[0] == "encoding pictures: 2 of 100" and len(logged.messages) == 33


PLAN = type("Plan", (), {"lines": lambda self: [("time", "1 s")], "numbers": lambda self: {}, "plural": "sounds"})()


def test_a_log_gets_the_first_step_at_once_then_a_line_every_half_minute_and_the_last(
    logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with Logged() as monitor:
        monitor.preparing(1, 2)
        monitor.plan(PLAN)
        for step in range(1, 81):
            monitor.step(step, 0.5, 10.0, 60.0, step / 80)
            clock.now += 1
    starts = [line.partition("  ")[0] for line in logged.messages[1:]]
    assert starts == ["step 1", "step 31", "step 61", "step 80"]
    assert logged.messages[1] == "step 1  loss 0.5000  10 sounds/s  1 min 00 s left"
    assert vars(logged.records[1])["event"] == "step" and vars(logged.records[1])["left_seconds"] == 60.0


@pytest.mark.parametrize("colours", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_colours_that_are_asked_for_make_no_file_a_terminal(colours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live bar there is a flood of escapes."""
    monkeypatch.setenv(colours, "1")
    out = io.StringIO()
    with Terminal(Console(file=out)) as terminal:
        terminal.step(1, 0.5, 10.0, 60.0, 0.1)
    assert out.getvalue() in ("", "\n")


def test_only_a_terminal_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert is_live(Console(file=Typewriter()))
    assert not is_live(Console(file=io.StringIO(), force_terminal=True))
    monkeypatch.setenv("TERM", "dumb")
    assert not is_live(Console(file=Typewriter()))


# What it suffers ------------------------------------------------------------------------------------------------------


class Faulty(Quiet):
    """A monitor that fails at each call of one name, as often as it is asked."""

    def __init__(self, name: str, error: BaseException) -> None:
        self.calls = 0

        def fail(*_: Any, **__: Any) -> None:
            self.calls += 1
            raise error

        kind = type("Faulty", (Faulty,), {name: fail})
        self.__class__ = kind


@pytest.mark.parametrize("name", ["__enter__", "preparing", "plan", "step", "__exit__"])
@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(1), ZeroDivisionError("mine")])
def test_a_monitor_that_fails_is_asked_nothing_more(
    name: str, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = Faulty(name, error)
    with Guarded(monitor) as guarded:
        for _ in range(2):
            guarded.preparing(1, 2)
            guarded.plan(None)  # type: ignore[arg-type]
            guarded.step(1, 0.5, 1.0, 1.0, 0.5)
    assert monitor.calls == 1
    errors = capsys.readouterr().err
    failed = f"warning: the work went on without its monitor, which had failed ({type(error).__name__}: "
    assert errors.startswith(failed) and errors.count("\n") == 1


@pytest.mark.parametrize(("name", "error"), [("preparing", ZeroDivisionError("mine")), ("step", SystemExit(1))])
def test_a_monitor_that_fails_ends_no_training(name: str, error: BaseException, data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", steps=2, monitor=Faulty(name, error))
    assert last_step(tmp_path / "run") == 2


def test_a_monitor_is_closed_though_it_failed() -> None:
    closed: list[bool] = []

    class Open(Quiet):
        def step(self, *_: Any) -> None:
            raise ValueError("no")

        def __exit__(self, *_: Any) -> None:
            closed.append(True)

    with Guarded(Open()) as monitor:
        monitor.step(1, 0.5, 1.0, 1.0, 0.5)
    assert closed == [True]


def test_an_interruption_of_the_keyboard_is_no_trouble_of_the_monitor() -> None:
    with pytest.raises(KeyboardInterrupt), Guarded(Faulty("preparing", KeyboardInterrupt())) as monitor:
        monitor.preparing(1, 2)


def test_what_a_signal_says_waits_until_the_monitor_has_answered() -> None:
    """A monitor or a handler with a lock of its own would else wait for itself."""
    seen: list[str] = []

    class Locked(Quiet):
        def preparing(self, *_: Any, **__: Any) -> None:
            logs.EventLogger("sfumato.test").warning("stopping")
            seen.append("prepared")

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler = Keeping()
    logging.getLogger("sfumato").addHandler(handler)
    Guarded(Locked()).preparing(1, 2)
    logging.getLogger("sfumato").removeHandler(handler)
    assert seen == ["prepared", "stopping"]


def test_one_monitor_that_fails_does_not_silence_another() -> None:
    well = Faulty("none", ZeroDivisionError())
    asked: list[int] = []
    well.step = lambda step, *_: asked.append(step)  # type: ignore[method-assign,assignment]
    with Guarded(Faulty("step", ZeroDivisionError("mine")), well) as guarded:
        for step in (1, 2):
            guarded.step(step, 0.5, 1.0, 1.0, 0.5)
    assert asked == [1, 2]


def test_a_reader_that_goes_away_ends_no_training(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = [word for setting in SMALL for word in ("--set", setting)]
    command = [
        "train",
        str(data),
        "--recipe",
        "digits",
        "--out",
        str(out),
        "--steps",
        "2",
        "--device",
        "cpu",
        *settings,
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "sfumato", *command], stdout=writing, stderr=writing, check=False)
    os.close(writing)
    assert done.returncode == 0 and last_step(out) == 2


# The log --------------------------------------------------------------------------------------------------------------


def test_a_log_that_cannot_be_written_ends_no_training(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("well", "ill"):
        out = tmp_path / name
        out.mkdir()
        if name == "ill":
            begin(data, out, steps=1)
            (out / "log.jsonl").unlink()
            (out / "log.jsonl").mkdir()
        caplog.clear()
        begin(data, out, steps=2, resume=name == "ill")
    assert digest(newest(tmp_path / "well")) == digest(newest(tmp_path / "ill"))
    assert sum(text.startswith("cannot write") and "log.jsonl" in text for text in caplog.messages) == 1


def test_a_line_that_does_not_fit_the_disk_leaves_no_half_of_itself(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    log = Log(tmp_path / "log.jsonl")
    log.write(step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (18, limits[1]))
    try:
        log.write(step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.trouble is not None
    log.write(step=3)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 3]
