"""The errors that Sfumato raises on purpose: one small tree.

Every message says what was expected, what came, and what to do. The command line prints it as one line and exits with
code 2; Python code may catch `SfumatoError`, or the kind it can mend.
"""

import difflib
import errno
from collections.abc import Iterable


class SfumatoError(Exception):
    """Any error that Sfumato raises on purpose."""


class InputError(SfumatoError, ValueError):
    """An argument, option, recipe key or prompt that cannot be used as given."""


class ShapeError(InputError):
    """A tensor or picture whose shape does not fit."""


class DataError(SfumatoError):
    """Data that cannot be read, or of which nothing is left to use."""


class FormatError(SfumatoError):
    """A saved file or folder that is damaged, of another version, or not ours."""


class StorageError(SfumatoError, OSError):
    """A file that cannot be written: no space, no permission, no such folder."""


class NonFiniteError(SfumatoError, ArithmeticError):
    """A NaN or an infinity, with the place where it arose."""


class ResumeError(SfumatoError):
    """A run that cannot be continued as asked."""


class OutOfMemoryError(SfumatoError, MemoryError):
    """More memory was needed than the machine has."""


class WorkerError(SfumatoError):
    """A process that works ahead of another died, or hangs."""


class Stopped(SfumatoError):
    """A signal ended the work; everything up to then is saved. `signal` is its number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a word that is not known: the nearest known one, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word[:200], known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def quoted(value: object, most: int = 100) -> str:
    """A value as an error shows it: on one line, and at most `most` characters of it."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # such as a number of more digits than Python writes
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


SHORT = (
    "allocate memory",
    "out of memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
    "failed to map segment",
    "os error 12",
)
"""How the libraries below say that memory is short where their error has no type for it."""


def is_short(error: BaseException) -> bool:
    """Whether an error says that memory is short, of the machine or of a device."""
    if isinstance(error, SfumatoError | MemoryError):
        return isinstance(error, MemoryError)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return any(words in text for words in SHORT)
