"""The errors that Sfumato raises on purpose: one small tree.

Every message says what was expected, what came, and what to do. The command line prints it as one line and exits with
the `code` of its class; Python code may catch `SfumatoError`, or the kind it can mend.
"""

import difflib
import errno
from collections.abc import Iterable


class SfumatoError(Exception):
    """Any error that Sfumato raises on purpose. `code` is what the command line then exits with."""

    code = 2


class InputError(SfumatoError, ValueError):
    """An argument, option, recipe key or prompt that cannot be used as given."""


class ShapeError(InputError):
    """A tensor or picture whose shape does not fit."""


class DataError(SfumatoError):
    """Data that cannot be read, or of which nothing is left to use."""

    code = 3


class FormatError(SfumatoError):
    """A saved file or folder that is damaged, of another version, or not ours."""

    code = 3


class NotFoundError(SfumatoError, LookupError):
    """A file, a folder, a model or a data set that is not there, or cannot be fetched."""

    code = 4


class StorageError(SfumatoError, OSError):
    """A file that cannot be written: no space, no permission, no such folder."""

    code = 5


class NonFiniteError(SfumatoError, ArithmeticError):
    """A NaN or an infinity, with the place where it arose."""

    code = 6


class ResumeError(SfumatoError):
    """A run that cannot be continued as asked."""


class OutOfMemoryError(SfumatoError, MemoryError):
    """More memory was needed than the machine has."""

    code = 5


class WorkerError(SfumatoError):
    """A process that works ahead of another died, or hangs: memory or the disk are short, as a rule."""

    code = 5


class Stopped(SfumatoError):
    """A signal ended the work; everything up to then is saved. `signal` is its number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
        self.code = 128 + signal


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


_NETWORK = ("ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN")
_ABSENT = {errno.ENOENT, errno.ENOTDIR, *(getattr(errno, name) for name in _NETWORK if hasattr(errno, name))}


def system_code(error: OSError) -> int:
    """The exit code for an error of the system: not found or the network, or else the disk. A name that no server
    knows has a number below 0, and the errors of libraries for the network have none."""
    number = error.errno
    absent = number is None or number < 0 or number in _ABSENT
    return NotFoundError.code if absent else StorageError.code


def is_short(error: BaseException) -> bool:
    """Whether an error says that memory is short, of the machine or of a device."""
    if isinstance(error, SfumatoError | MemoryError):
        return isinstance(error, MemoryError)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return any(words in text for words in SHORT)
