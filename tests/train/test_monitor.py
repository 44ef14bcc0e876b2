"""What looks on: it shows what happens, and whatever it suffers, the work goes on."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_runs import SMALL, begin, digest, last_step, newest

from sfumato.train.log import Log
from sfumato.train.monitor import Guarded, Quiet, Terminal
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


def test_a_log_gets_a_line_every_half_minute_while_a_training_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, out = Clock(monkeypatch), io.StringIO()
    with Terminal(Console(file=out)) as terminal:
        for i in range(100):
            clock.now += 10
            terminal.preparing(i, 100, what="encoding pictures")
    lines = out.getvalue().splitlines()
    assert lines[0] == "encoding pictures: 2 of 100" and len(lines) == 33


def test_a_log_gets_the_first_step_at_once_and_then_a_line_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, out = Clock(monkeypatch), io.StringIO()
    with Terminal(Console(file=out)) as terminal:
        terminal.preparing(1, 2)
        terminal.plan(type("Plan", (), {"lines": lambda self: [], "plural": "sounds"})())
        for step in range(1, 62):
            terminal.step(step, 0.5, 10.0, 60.0, 0.1)
            clock.now += 1
    assert [line.partition("  ")[0] for line in out.getvalue().splitlines()] == ["step 1", "step 31", "step 61"]
    assert "  10 sounds/s  " in out.getvalue()


@pytest.mark.parametrize("colours", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_colours_that_are_asked_for_make_no_file_a_terminal(colours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live bar there is a flood of escapes, and the lines would be missing."""
    monkeypatch.setenv(colours, "1")
    clock, out = Clock(monkeypatch), io.StringIO()
    with Terminal(Console(file=out)) as terminal:
        for _ in range(4):
            clock.now += 20
            terminal.step(1, 0.5, 10.0, 60.0, 0.1)
    assert out.getvalue().count("step 1") == 2
    assert "\x1b[?25l" not in out.getvalue(), "the cursor is hidden for a bar"


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


@pytest.mark.parametrize("name", ["__enter__", "say", "preparing", "plan", "step", "__exit__"])
@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(1), ZeroDivisionError("mine")])
def test_a_monitor_that_fails_is_asked_nothing_more(
    name: str, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = Faulty(name, error)
    with Guarded(monitor) as guarded:
        for _ in range(2):
            guarded.say("a")
            guarded.preparing(1, 2)
            guarded.plan(None)  # type: ignore[arg-type]
            guarded.step(1, 0.5, 1.0, 1.0, 0.5)
    assert monitor.calls == 1
    errors = capsys.readouterr().err
    failed = f"note: the work went on without its monitor, which had failed ({type(error).__name__}: "
    assert errors.startswith(failed) and errors.count("\n") == 1


@pytest.mark.parametrize(("name", "error"), [("say", ZeroDivisionError("mine")), ("step", SystemExit(1))])
def test_a_monitor_that_fails_ends_no_training(name: str, error: BaseException, data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", steps=2, monitor=Faulty(name, error))
    assert last_step(tmp_path / "run") == 2


def test_a_monitor_is_closed_though_it_failed() -> None:
    closed: list[bool] = []

    class Open(Quiet):
        def say(self, text: str) -> None:
            raise ValueError("no")

        def __exit__(self, *_: Any) -> None:
            closed.append(True)

    with Guarded(Open()) as monitor:
        monitor.say("a")
    assert closed == [True]


def test_an_interruption_of_the_keyboard_is_no_trouble_of_the_monitor() -> None:
    with pytest.raises(KeyboardInterrupt), Guarded(Faulty("say", KeyboardInterrupt())) as monitor:
        monitor.say("a")


def test_what_a_signal_says_waits_until_the_monitor_has_answered() -> None:
    """A monitor with a lock of its own would else wait for itself."""
    seen: list[str] = []

    class Locked(Quiet):
        def say(self, text: str) -> None:
            if text == "first":
                guarded.say("second")
            seen.append(text)

    guarded = Guarded(Locked())
    guarded.say("first")
    assert seen == ["first", "second"]


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


def test_a_log_that_cannot_be_written_ends_no_training(data: Path, tmp_path: Path) -> None:
    for name in ("well", "ill"):
        out = tmp_path / name
        out.mkdir()
        if name == "ill":
            begin(data, out, steps=1)
            (out / "log.jsonl").unlink()
            (out / "log.jsonl").mkdir()
        messages: list[str] = []
        monitor = type("Heard", (Quiet,), {"say": lambda self, text, messages=messages: messages.append(text)})()
        begin(data, out, steps=2, resume=name == "ill", monitor=monitor)
    assert digest(newest(tmp_path / "well")) == digest(newest(tmp_path / "ill"))
    assert sum(text.startswith("note: cannot write") and "log.jsonl" in text for text in messages) == 1


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
