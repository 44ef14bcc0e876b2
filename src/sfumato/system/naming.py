"""Names of the files of samples."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from sfumato.errors import InputError, nearest, quoted
from sfumato.media.protocol import Record
from sfumato.wording import folded

FIELDS = ("index", "seed", "prompt")
MOST_NAME = 200
"""The longest name of a file or folder, which leaves room for a number and an ending."""
_SPEC = re.compile(r"[^{}\d]{0,4}\d{0,3}[^{}\d]{0,2}\d{0,3}[a-zA-Z%]?")
"""A format specification whose numbers are small, so that no name is longer than memory."""


@dataclass(frozen=True)
class NameTemplate:
    """A template as `{index:05}-{seed}`, in Python's format language, which `NameTemplate(...)(index, prompt, seed)`
    fills in.

    Its fields are `index`, the number of the sample among all that are drawn, from 0; `seed`; and `prompt`, its letters
    and digits joined by hyphens. A slash leads into a folder. The hyphens that an empty prompt leaves at the ends of a
    name are left out. Raises an `InputError` for what is no such template, or would lead out of the folder.
    """

    text: str

    def __post_init__(self) -> None:
        self(0, "a", 0)

    def __call__(self, index: int, prompt: Any, seed: Any) -> str:
        values = {"index": index, "seed": seed, "prompt": slug(prompt)}
        try:
            parsed = list(Formatter().parse(self.text))
            name = "".join(text + _filled(field, spec, conversion, values) for text, field, spec, conversion in parsed)
        except InputError:
            raise
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"the name {quoted(self.text)} is no template as {{index:05}}-{{seed}}: {error}") from None
        if not values["prompt"] and any(field == "prompt" for _, field, _, _ in parsed):
            name = "/".join(part.strip("-") for part in name.split("/"))
        return checked_name(name)


def _filled(field: str | None, spec: str | None, conversion: str | None, values: dict[str, Any]) -> str:
    """A field as its specification has it; "" after the last text."""
    if field is None:
        return ""
    if field not in values:
        raise InputError(f"a name has no field {quoted(field)}; {nearest(field, FIELDS)}")
    if conversion or not _SPEC.fullmatch(spec or ""):
        raise InputError(f"the field {field} of a name is written as in {{index:05}}, not {quoted(spec or conversion)}")
    return format(values[field], spec or "")


def checked_name(name: str) -> str:
    """The name, if a file in a folder or below it can have it; else an `InputError`."""
    for part in name.split("/"):
        if part.strip(" .") == "" or part.startswith("."):
            raise InputError(
                f"{quoted(name)} names no file: a name and its folders begin with no dot, and are not empty"
            )
        if not part.isprintable() or "\\" in part or len(part.encode(errors="replace")) > MOST_NAME:
            raise InputError(
                f"{quoted(name)} is no name for a file: at most {MOST_NAME} printable bytes, and no backslash"
            )
    return name


def names(samples: Sequence[tuple[Any, Any]], templates: Sequence[NameTemplate | None], start: int = 0) -> list[str]:
    """A name of its own for each sample, a prompt and a seed, by its template, the first of them number `start`.

    Without a template it is `PROMPT-SEED`, and where that is another's already it is numbered, as `keep` does.
    Raises an `InputError` where a template names a sample as another is.
    """
    found: list[str] = []
    taken: dict[str, int] = {}
    repeated: Counter[str] = Counter()
    for index, ((prompt, seed), template) in enumerate(zip(samples, templates, strict=True), start):
        name = plain = stem({"prompt": prompt, "seed": seed}) if template is None else template(index, prompt, seed)
        while template is None and folded(name) in taken:
            repeated[plain] += 1
            name = f"{plain}_{repeated[plain] + 1}"
        if (other := taken.setdefault(folded(name), index)) != index:
            raise InputError(
                f"two samples would be {quoted(name)}, number {other:,} and number {index:,}: put {{index}} in the name"
            )
        found.append(name)
    return found


def stem(record: Record) -> str:
    """A sample's prompt and seed as the name of its file: names are counted in bytes."""
    start, seed = slug(record.get("prompt")), "".join(_words(record.get("seed")))[:40] or "0"
    return f"{start}-{seed}" if start else seed


def slug(value: Any) -> str:
    """A prompt in a file's name."""
    return "-".join(_words(value)).encode()[:100].decode(errors="ignore").rstrip("-")


def _words(value: Any) -> list[str]:
    """A value as words that a file's name may hold."""
    return "".join(c if c.isalnum() else " " for c in str(value if value is not None else "")).split()
