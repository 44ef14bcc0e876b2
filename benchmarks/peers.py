"""Sfumato beside diffusers on one checkpoint: a Stable Diffusion 1.5 in full size, with random weights.

The checkpoint is written once, by diffusers' classes. Every measurement has a process of its own; the two sides take
turns, and a figure is the median of its rounds, the first of which is left out: it fills the page cache. Each side is
as it comes, but that `step` and `memory` draw with DDIM at guidance 7.5 on both. The parts:

- load: seconds until the checkpoint is open, alone and with Python's start and the imports; and until a small picture
  of one step is drawn, since weights that were only mapped into memory have then been read. Each side as it comes, and
  both in bfloat16;
- memory: the most that opening, and a picture of two steps, add to a process, beside the weights in use; and what a
  small picture in bfloat16 adds, beside the weights if all of them were bfloat16;
- step: seconds of a guided step, both halves; in float32, and in bfloat16 where the machine is fast in it;
- picture: seconds of a picture at each side's own defaults, in half as many rounds;
- exact: the largest difference of the same picture: 20 steps of DDIM, guidance 7.5, small, values in [0, 1].
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median, pstdev
from typing import Any

from report import put

HERE = Path(__file__).parent
MARK = "<!-- the rest is written by benchmarks/peers.py -->"
SIDES = "Sfumato", "diffusers"
MERGES = HERE.parents[1] / "shared" / "data" / "text" / "bpe_simple_vocab_16e6.txt.gz"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sfumato-benchmarks"
SMALL = {"load": 64, "exact": 128}
"""The side of a small picture."""
Row = tuple[str, str, str, str]
Figures = dict[str, dict[str, Any]]
"""By side, the medians."""
Measure = Callable[..., Figures]
"""Part, rounds, and what its task says besides → the figures."""


def main(arguments: Sequence[str] | None = None) -> None:
    given = options().parse_args(arguments)
    folder = given.folder or CACHE / ("tiny" if given.tiny else "stable-diffusion-1.5")
    if not (folder / "model_index.json").is_file():
        print(f"writing a checkpoint to {folder}", file=sys.stderr)
        merges = given.merges if given.merges.is_file() else None
        more = [*(["--tiny"] if given.tiny else []), *(["--merges", str(merges)] if merges else [])]
        python("peer_checkpoint.py", str(folder), *more)
    task = {"folder": str(folder), "size": 64 if given.tiny else given.size}
    head = run({**task, "side": SIDES[0], "part": "about", "precision": None})
    precisions = ["float32", *(["bfloat16"] if head["bfloat16"] else [])]

    def measure(part: str, rounds: int, **more: Any) -> Figures:
        return turns({"precision": None, **task, "part": part, **more}, rounds)

    width, rows, report = task["size"], list[Row](), ""
    for row in (row for part in given.parts for row in PARTS[part](measure, given.rounds, precisions)):
        rows.append(row)
        print(*row, sep=" | ", file=sys.stderr)
        report = f"{head['machine']}; pictures of {width}×{width}; rounds: {given.rounds}.\n\n{table(rows)}"
        put(given.markdown, MARK, report)  # row by row: a run that is broken off leaves those that it has
    print(report)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is measured")
    parser.add_argument("--folder", type=Path, help=f"where the checkpoint is, or is written; else below {CACHE}")
    parser.add_argument("--tiny", action="store_true", help="a tiny one, which shows only that all of this runs")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each side takes, after one that is left out")
    parser.add_argument("--size", type=int, default=512, help="the side of a picture, in pixels")
    parser.add_argument("--merges", type=Path, default=MERGES, help="CLIP's list of merges, gzipped, if there is one")
    parser.add_argument("--markdown", type=Path, help=f"also write the table to this file, after its line {MARK}")
    return parser


# Measuring ------------------------------------------------------------------------------------------------------------


def run(task: dict[str, Any]) -> dict[str, Any]:
    """The figures of one task, from a process of its own; this one stays small, for a child's peak begins with it."""
    return json.loads(python("peer_worker.py", json.dumps({**task, "started": time.time()})).splitlines()[-1])


def python(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, HERE / program, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {program} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def turns(task: dict[str, Any], rounds: int) -> Figures:
    """The medians of each side, in turn, after a turn that is left out; or, at 0 rounds, what one turn gives."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for nth in range(rounds + 1):
        for side in SIDES if nth % 2 == 0 else SIDES[::-1]:
            print(f"{task['part']}, {task['precision'] or 'as it comes'}: {side}, turn {nth + 1}", file=sys.stderr)
            found[side].append(run({**task, "side": side}))
    return {side: middle(figures[1:] or figures) for side, figures in found.items()}


def middle(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure; what is no number is as the first has it."""
    return {
        key: median(one[key] for one in figures) if isinstance(value, int | float) else value
        for key, value in figures[0].items()
    }


# Parts ----------------------------------------------------------------------------------------------------------------


def load(measure: Measure, rounds: int, precisions: Sequence[str]) -> Iterator[Row]:
    found = measure("load", rounds, small=SMALL["load"])
    yield compared("load: libraries imported → checkpoint open, s", found, "open")
    yield compared("load: start of Python → checkpoint open, s", found, "process")
    yield compared("load: libraries imported → a small picture of one step, s", found, "first")
    found = measure("load", rounds, precision="bfloat16", small=SMALL["load"])
    yield compared("load: opening in bfloat16, s", found, "open")
    yield compared("load: first small picture in bfloat16, s", found, "first")


def memory(measure: Measure, rounds: int, precisions: Sequence[str]) -> Iterator[Row]:
    found = measure("memory", 0, steps=2)
    weights = {side: one["weights"] for side, one in found.items()}
    yield compared("memory: weights in use, GB", {side: {"weights": w / 1e9} for side, w in weights.items()}, "weights")
    for what, key in (("opening", "opened"), ("opening and a picture", "drawn")):
        added = {side: {key: max(one[key] - one["before"], 0)} for side, one in found.items()}
        yield compared(f"memory: peak of {what}, × the weights", added, key, weights)
    found = measure("memory", 0, precision="bfloat16", size=SMALL["load"], steps=1)
    halves = {side: 2 * one["numbers"] for side, one in found.items()}
    added = {side: {"drawn": one["drawn"] - one["before"]} for side, one in found.items()}
    yield compared("memory: peak memory over bf16 weights, of a small picture in bfloat16", added, "drawn", halves)


def step(measure: Measure, rounds: int, precisions: Sequence[str]) -> Iterator[Row]:
    for precision in precisions:
        yield compared(f"step: guided, {precision}, s", measure("step", rounds, precision=precision, steps=4), "step")


def picture(measure: Measure, rounds: int, precisions: Sequence[str]) -> Iterator[Row]:
    found = measure("picture", rounds // 2)  # it takes minutes, in which much noise evens out
    yield compared("picture: at the defaults, s", found, "picture")
    yield "picture: the defaults", *(found[side]["defaults"] for side in SIDES), ""


def exact(measure: Measure, rounds: int, precisions: Sequence[str]) -> Iterator[Row]:
    found = measure("exact", 0, precision="float32", small=SMALL["exact"], steps=20)
    ours, theirs = (found[side]["values"] for side in SIDES)
    furthest = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    yield "exact: spread of the picture", f"{pstdev(ours):.3f}", f"{pstdev(theirs):.3f}", ""
    yield "exact: largest difference", f"{furthest:.1e}", "", ""


PARTS = {part.__name__: part for part in (load, memory, step, picture, exact)}


def compared(what: str, found: Figures, key: str, unit: dict[str, float] | None = None) -> Row:
    """A row: each side's figure, by its `unit`, and how many times ours theirs is."""
    ours, theirs = (found[side][key] / (unit[side] if unit else 1) for side in SIDES)
    return what, f"{ours:.3g}", f"{theirs:.3g}", f"{theirs / ours:.2f}" if ours else ""


def table(rows: Sequence[Row], heads: Row = ("what", *SIDES, "diffusers ÷ Sfumato")) -> str:
    """A markdown table with its columns lined up."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = (heads, ["-" * width for width in widths], *rows)
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


if __name__ == "__main__":
    main()
