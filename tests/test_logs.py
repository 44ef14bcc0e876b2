"""What is reported goes through Python's logging, and is never the work's trouble."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sfumato import logs

LOG = logs.EventLogger("sfumato.test")


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    """A handler of somebody's own, on what is ours."""
    own, logger = logging.Handler(), logging.getLogger("sfumato")
    logger.addHandler(own)
    yield own
    logger.removeHandler(own)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has failed yet."""
    monkeypatch.setattr(logs._STATE, "excused", False)


def test_fields_are_attributes_of_the_record_and_the_caller_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sfumato")
    LOG.info("100% of step 3", event="step", step=3)
    (record,) = caplog.records
    assert record.getMessage() == "100% of step 3" and vars(record)["step"] == 3 and record.name == "sfumato.test"
    assert record.filename == "test_logs.py" and record.funcName.startswith("test_fields")


def test_without_any_setting_python_shows_warnings_alone() -> None:
    code = "from sfumato import logs; log = logs.EventLogger('sfumato.x'); log.info('a'); log.warning('b')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "b\n" and not done.stdout


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(1), ZeroDivisionError("mine")])
def test_a_handler_that_fails_ends_nothing(
    error: BaseException, handler: logging.Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(record: logging.LogRecord) -> None:
        raise error

    handler.emit = fail  # type: ignore[method-assign]
    for _ in range(2):
        LOG.warning("a")
    assert capsys.readouterr().err.count(f"({type(error).__name__}: ") == 1, "once is enough"


def test_what_comes_amid_a_handler_waits_until_it_is_done(handler: logging.Handler) -> None:
    """As a signal's words do; the handler may hold a lock of its own."""
    seen: list[str] = []

    def emit(record: logging.LogRecord) -> None:
        if record.getMessage() == "first":
            LOG.warning("second")
        seen.append(record.getMessage())

    handler.emit = emit  # type: ignore[method-assign]
    LOG.warning("first")
    assert seen == ["first", "second"]


def test_a_signal_amid_a_handler_leaves_nothing_waiting(handler: logging.Handler) -> None:
    seen: list[str] = []

    def emit(record: logging.LogRecord) -> None:
        if record.getMessage() == "first":
            LOG.warning("stopping")
            raise KeyboardInterrupt
        seen.append(record.getMessage())

    handler.emit = emit  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        LOG.warning("first")
    assert seen == ["stopping"]
    LOG.warning("later")
    assert seen == ["stopping", "later"]


def test_a_process_that_is_to_be_silent_is(caplog: pytest.LogCaptureFixture) -> None:
    with logs.silent():
        LOG.warning("a")
        with logs.silent(False):
            LOG.warning("b")
    LOG.warning("c")
    assert caplog.messages == ["c"]


def test_the_command_line_shows_a_line_each_and_spells_what_does_not_print(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.shown():
        LOG.info("a\n\x1b[31m")
        LOG.warning("[bold]b")
        LOG.info("out/0.png", event="picture")
    LOG.info("after")
    assert capsys.readouterr().err == "a\\n\\x1b[31m\nwarning: [bold]b\n"


def test_quiet_leaves_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.shown(quiet=True):
        LOG.info("a")
        LOG.warning("b")
        assert not logs.bars()
    assert capsys.readouterr().err == "warning: b\n"


def test_json_holds_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.shown(as_json=True):
        LOG.info("step 3", event="step", step=3, loss=0.5)
        LOG.warning("b")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {"level": "info", "message": "step 3", "event": "step", "step": 3, "loss": 0.5}
    assert second["level"] == "warning" and set(second) == {"time", "level", "message"}


def test_in_a_terminal_lines_stand_above_the_bar_which_shows_progress_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.progress import Progress

    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    with logs.shown(), Progress(console=logs.console(), auto_refresh=False) as bar:
        bar.add_task("working")
        LOG.info("a line")
        LOG.info("step 3", event="step")
        LOG.info("kept", event="preview")
    text = out.getvalue()
    assert "a line" in text and "kept" in text and "step 3" not in text and text.count("working") > 1
