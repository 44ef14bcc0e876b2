"""Files broken in every way that chance has, and what reading them may cost."""

import json
import math
import random
import resource
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sfumato.errors import SfumatoError

MOST_SECONDS, MOST_MEMORY = 1.0, 300e6
ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    10**9,
    10**400,
    1e-300,
    1e308,
    math.nan,
    -math.inf,
    "",
    "x",
    "ddim",
    "../up",
    "\ud800",
    [],
    [8, 8],
    [[]],
    {},
    {"kind": "linear"},
    {"kind": []},
]


class Reader:
    """Reads broken files, one after another. Each may be read or refused in one line, within a second of this
    process's time and 300 MB of memory; anything else is an error that shows the file."""

    def __init__(self, read: Callable[[], object]) -> None:
        self.read, self.count = read, Counter[str]()
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak of before
        except OSError:
            pass
        self.most = peak() + MOST_MEMORY

    def __call__(self, broken: bytes) -> None:
        shown, began = broken[:2000], time.process_time()
        try:
            self.read()
            self.count["read"] += 1
        except SfumatoError as error:
            self.count["refused"] += 1
            assert "\n" not in str(error) and len(str(error)) < 2000, shown
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__}: {error} on {shown!r}") from error
        assert time.process_time() - began < MOST_SECONDS, shown
        assert peak() < self.most, shown


def peak() -> float:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def scrambled(text: bytes, rng: random.Random, pieces: list[bytes]) -> bytes:
    """A few bytes of the text changed, cut out or put in."""
    data = bytearray(text)
    for _ in range(rng.randint(1, 3)):
        at, way = rng.randrange(len(data)), rng.random()
        if way < 0.3:
            data[at] = rng.randrange(256)
        elif way < 0.6:
            data[at : at + 1] = rng.choice(pieces)
        elif way < 0.8:
            del data[at : at + rng.randint(1, 8)]
        else:
            data[at:at] = rng.choice(pieces)
    return bytes(data)


def swapped(table: dict[str, Any], rng: random.Random) -> Any:
    """A copy of the table with an odd value in the place of one of its own, or with one left out."""
    table = json.loads(json.dumps(table))
    *way, last = rng.choice(places(table))
    inner: Any = table
    for key in way:
        inner = inner[key]
    if rng.random() < 0.15:
        del inner[last]
    else:
        inner[last] = rng.choice(ODD_VALUES)
    return table


def places(table: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a table."""
    items = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    return [*([place] if place else []), *(way for key, value in items for way in places(value, (*place, key)))]


def headed(header: bytes, body: bytes = b"") -> bytes:
    """A safetensors file of that header."""
    return struct.pack("<Q", len(header)) + header + body


def garbled(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file of random bytes, or one with bytes changed, cut out or put in, or with its length wrong."""
    match rng.randrange(6):
        case 0:
            return rng.randbytes(rng.randrange(200))
        case 1:
            return headed(rng.randbytes(rng.randrange(2, 100)), rng.randbytes(rng.randrange(50)))
        case 2:
            return struct.pack("<Q", rng.choice([rng.randrange(2**64), rng.randrange(1000)])) + data[8:]
        case 3:
            start, length = rng.randrange(len(data)), rng.randrange(1, 30)
            return data[:start] + rng.randbytes(rng.randrange(30)) + data[start + length :]
        case 4:
            length = struct.unpack("<Q", data[:8])[0]
            header = json.dumps(swapped(json.loads(data[8 : 8 + length]), rng)).encode()
            return headed(header, data[8 + length :])
        case _:
            changed = bytearray(data)
            for _ in range(rng.randrange(1, 5)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            return bytes(changed)
