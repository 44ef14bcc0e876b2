"""The command line: one module a command. Commands are imported when they run, so that `--help` answers at once."""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, Any, TextIO

import typer

from sfumato.cli import doctor, export, generate, inspect, models, recipes, train
from sfumato.cli.options import ASKED, OPTIONS, with_options
from sfumato.errors import SfumatoError, is_short, system_code
from sfumato.wording import one_line

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train, sample and look into diffusion models.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: loading rich would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", cls=train.TrainCommand)(with_options(train.train_command))
app.command("generate", cls=generate.GenerateCommand)(with_options(generate.generate))
for command in (inspect.inspect, models.models, recipes.recipes, export.export, doctor.doctor):
    app.command()(with_options(command))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sfumato {version('sfumato')}")
        raise typer.Exit


def program(
    _: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None: ...


app.callback()(with_options(program, is_program=True))


def main() -> None:
    """Run a command. An error of ours, of the system's, or for want of memory is one line and an exit code of its own;
    a signal ends with 128 + its number. What a console cannot show is spelled."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by 2>&-: what is written there is dropped
            setattr(sys, name, open(os.devnull, "w"))
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # none, or one of somebody's own
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    ASKED.clear()
    # Before torch is there to read it: threads that wait for one another spin, by default so long that on a busy
    # machine they keep the cores from those they wait for; to sleep at once is as slow where nothing else runs. No
    # number changes (docs/reliability.md has the figures).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    code = _run()
    if (error := _flush(sys.stdout)) is not None:
        broken = isinstance(error, BrokenPipeError)  # as by `| head`, which has read enough
        code = code or (_BROKEN_PIPE if broken else system_code(error))
        if not broken:
            _fail(error, f"cannot write to the standard output: {error.strerror}", code)
    _flush(sys.stderr)
    sys.exit(code)


_BROKEN_PIPE = 128 + getattr(signal, "SIGPIPE", 13)


def _run() -> int:
    """Run a command; its exit code."""
    try:
        code = app(standalone_mode=False)
    except SystemExit as end:
        return _BROKEN_PIPE if isinstance(end.__context__, BrokenPipeError) else _code(end.code)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if (usage := getattr(error, "show", None)) is not None:  # a wrong use, which typer explains
            return _misused(error, usage)
        if _debugging() or (found := _explained(error)) is None:
            raise
        _fail(error, *found)
        return found[1]
    return _code(code)


def _code(code: object) -> int:
    return code if isinstance(code, int) else 0 if code is None else 1


def _explained(error: Exception) -> tuple[str, int] | None:
    """What there is to say of an error, and its exit code; None for one that nobody foresaw, whose traceback says
    more."""
    if isinstance(error, SfumatoError):
        return str(error), error.code
    if is_short(error):
        return "more memory was needed than there is: ask for less at once, or close other programs", 5
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror or error}", system_code(error)
    return None


def _misused(error: Any, show: Callable[[], None]) -> int:
    """Words that are no command of ours."""
    if _as_json():
        _fail(error, error.format_message(), error.exit_code)
    else:
        show()
    return error.exit_code


def _fail(error: BaseException, text: str, code: int) -> None:
    """One line on an error."""
    if _as_json():
        _say(json.dumps({"error": type(error).__name__, "message": text, "code": code}))
    else:
        _say(f"sfumato: {one_line(text)}")


def _as_json() -> bool:
    """Whether an error is to be JSON; one in the words themselves comes before they are all read."""
    return any(name in ASKED or OPTIONS[name][0] in sys.argv for name in ("json_errors", "log_json"))


def _debugging() -> bool:
    return os.environ.get("SFUMATO_DEBUG", "").strip().lower() not in ("", "0", "false", "no", "off")


def _say(text: str) -> None:
    """A line on standard error, if anybody can still read it: the exit code says how it ended in any case."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr)


def _flush(stream: TextIO | None) -> OSError | None:
    """Write out what a stream still holds; where that cannot be, drop it, as Python would else end with code 120, and
    return the error."""
    if stream is None:
        return None
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error if isinstance(error, OSError) else None
    return None
