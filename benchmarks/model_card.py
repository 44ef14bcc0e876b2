"""The tables of a model card: of the stages of a system, and those that other benchmarks wrote.

    python benchmarks/model_card.py emoji composition.md pictures.md start.md

The card is the README.md in the system's folder. Below each of its lines `<!-- the rest is written by … -->`, up to the
next heading, it gets what that benchmark wrote into one of the pages by `--markdown`; below the line of this one, what
each stage of the system reads and draws, how large it is and what it has seen.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path

from report import put, section, stages

from sfumato import load
from sfumato.errors import InputError, SfumatoError
from sfumato.library import find_system
from sfumato.system import Cascade, System
from sfumato.system.cascade import saved_stages
from sfumato.system.description import described
from sfumato.system.file import read_outline

MARK = "<!-- the rest is written by benchmarks/model_card.py -->"
MARKS = re.compile(r"^<!-- the rest is written by \S+ -->$", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", help="a system that ships, or the folder of one")
    parser.add_argument("pages", type=Path, nargs="*", help="what benchmarks wrote by --markdown")
    given = parser.parse_args(arguments)
    folder = find_system(given.system)
    card = folder / "README.md"
    found = {mark: text for page in given.pages for mark, text in reports(page).items()}
    found[MARK] = table(load(given.system, "cpu"), folder)
    marks = MARKS.findall(card.read_text("utf-8"))
    if odd := [mark for mark in found if mark not in marks]:
        raise InputError(f"{card} has no line {odd[0]}: write it below the heading that it belongs to")
    for mark in marks:
        if mark in found:
            put(card, mark, found[mark])
        print(f"{'written' if mark in found else 'as it was'}: {mark}")


def reports(page: Path) -> dict[str, str]:
    """What benchmarks wrote into a page, by the lines that it stands below."""
    text = page.read_text("utf-8")
    return {mark[0]: section(text[mark.end() :]).strip() for mark in MARKS.finditer(text)}


def table(system: System | Cascade, folder: Path) -> str:
    """What the stages are, by what is on disk."""
    rows = [["stage", "network", "reads", "draws", "by", "numbers", "MB", "seen in training"]]
    rows += [
        [str(nth), *row(stage, place)]
        for nth, (stage, place) in enumerate(zip(stages(system), saved_stages(folder)[1], strict=True))
    ]
    lines = ["| " + " | ".join(own) + " |" for own in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return f"System `{system.fingerprint()}`:\n\n" + "\n".join(lines)


def row(stage: System, folder: Path) -> list[str]:
    _, paths, header = read_outline(folder)
    numbers = sum(prod(shape) for _, shape in header.values()) / 1e6
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    facts = described(stage)
    seen = [f"{number:,} {key.removesuffix(' seen')}" for key, number in stage.about.items() if key.endswith(" seen")]
    kind = facts["network"].partition(",")[0]
    return [kind, facts["reads"], facts["draws"], facts["by"], f"{numbers:.1f} M", f"{megabytes:.1f}", " ".join(seen)]


if __name__ == "__main__":
    try:
        main()
    except SfumatoError as error:
        sys.exit(f"error: {error}")
