"""The lines of `sfumato generate --prompts`: a text a line, or a JSON object a line."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfumato.arguments import listed
from sfumato.errors import InputError, SfumatoError, nearest, quoted
from sfumato.files import parse_json
from sfumato.foreign.drawing import own_arguments
from sfumato.system.drawing import MOST_PROMPT
from sfumato.system.stages import STAGE_OPTIONS
from sfumato.wording import brief

MOST_FILE = 2**26
MOST_AT_ONCE = 100_000
OBJECTS = (".jsonl", ".ndjson")
LINE_KEYS = ("prompt", "seed", "seeds", "name", *STAGE_OPTIONS)
"""What a line's object may hold."""


@dataclass(frozen=True)
class Line:
    """A prompt and what is asked for beside it; what is left out is as the options of the command say."""

    prompt: Any
    seed: Any = None
    seeds: Any = None
    name: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    """Of `Drawing`, as JSON spells them."""
    where: str = ""
    """The file and the number of the line."""


def read_prompts(file: str) -> list[Line]:
    """The lines of a file, or of standard input for "-": each a prompt, or each a JSON object with `LINE_KEYS`; empty
    ones are skipped. Raises an `InputError` that names the line which is neither."""
    name = "standard input" if file == "-" else brief(file)
    texts = [(f"{name}, line {number:,}", text) for number, text in enumerate(_texts(_bytes(file, name), name), 1)]
    texts = [(where, text) for where, text in texts if text]
    if not texts:
        raise InputError(f"{name} holds no prompt: write one a line")
    if len(texts) > MOST_AT_ONCE:
        raise InputError(f"{name} holds {len(texts):,} prompts, and {MOST_AT_ONCE:,} are the most: split it")
    if Path(file).suffix.lower() in OBJECTS or any(_is_object(text) for _, text in texts):
        return [_object(where, text) for where, text in texts]
    return [_prompt(where, text) for where, text in texts]


def read_seeds(text: str) -> list[int]:
    """The seeds that "0,1,2" or "0-9", or both, spell."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (end.strip() for end in part.partition("-"))
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() and len(end) < 20 for end in ends) or int(ends[0]) > int(ends[1]):
            raise InputError(f"seeds read 0,1,2 or 0-9, not {quoted(text)}")
        if int(ends[1]) - int(ends[0]) + len(found) >= MOST_AT_ONCE:
            raise InputError(f"{quoted(text)} are more than {MOST_AT_ONCE:,} seeds: draw them in parts")
        found += range(int(ends[0]), int(ends[1]) + 1)
    return found


def seeds_of(line: Line, seeds: list[int] | None, seed: int, number: int) -> list[int]:
    """The seeds of a line: its own, or those of the options; `number` of them count on from a single one."""
    if line.seed is not None and line.seeds is not None:
        raise InputError("a line has a seed or seeds, not both")
    if line.seeds is not None:
        return read_seeds(line.seeds) if isinstance(line.seeds, str) else listed("seeds", line.seeds)
    if line.seed is None and seeds is not None:
        return seeds
    first = seed if line.seed is None else line.seed
    if isinstance(first, bool) or not isinstance(first, int):
        raise InputError(f"a seed must be a whole number, not {quoted(first)}")
    return list(range(first, first + number))


def _bytes(file: str, name: str) -> bytes:
    """What a file holds, which may be a pipe, within bounds."""
    if file == "-":
        data = sys.stdin.buffer.read(MOST_FILE + 1)
    else:
        if Path(file).is_dir():
            raise InputError(f"{name} is a folder: --prompts wants a file")
        with open(file, "rb") as source:
            data = source.read(MOST_FILE + 1)
    if len(data) > MOST_FILE:
        raise InputError(f"{name} is larger than {MOST_FILE // 2**20} MiB: no file of prompts, or one to split")
    return data


def _texts(data: bytes, name: str) -> list[str]:
    """The lines of a file, ended as on any system; one that is no UTF-8 is an `InputError` that names it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}, line {number:,}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    return [line.strip() for line in text.replace("\r", "\n" if "\n" not in text else "").split("\n")]


def _prompt(where: str, text: str) -> Line:
    if len(text) > MOST_PROMPT:
        raise InputError(f"{where}: a prompt has at most {MOST_PROMPT:,} characters, not {len(text):,}")
    return Line(text, where=where)


def _is_object(text: str) -> bool:
    try:
        return text.startswith("{") and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _object(where: str, text: str) -> Line:
    """The line that a JSON object spells."""
    try:
        table = parse_json(text.encode(), "it", finite=True)
    except SfumatoError as error:
        raise InputError(f"{where}: wanted a JSON object as on other lines, and {error}") from None
    own = {key: table.pop(key) for key in ("prompt", "seed", "seeds", "name") if key in table}
    try:
        table = own_arguments(table)
        own |= {"seeds": table.pop("seeds")} if "seeds" in table else {}  # so many, in another tool's word
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if unknown := [key for key in table if key not in STAGE_OPTIONS]:
        raise InputError(f"{where}: a line has no {quoted(unknown[0])}; {nearest(unknown[0], LINE_KEYS)}")
    return Line(own.get("prompt"), own.get("seed"), own.get("seeds"), own.get("name"), table, where)
