"""Does a text-to-image system draw things together as it is asked to: two of them, their number, colours and places?

As in GenEval (arXiv:2310.11513): prompts of seven cells, and of each, those of pairs that training may show
(seen) apart from those that it never shows (held-out pairs: `examples/emoji_held_out.json`; one thing: captions and
styles that were trained on, but never together). A reader that was fitted to real scenes (`reader.py`) says what
stands in each picture, and `asked.py` whether that is all of what was asked. Prompts that name a background, a size or
a corner of the picture are left out: no cell is of these. Prompt i of a cell is drawn with seed i.

Beside the systems stand the real scenes of the same prompts, and these after the codec of each `--codec`: the most that
can be read. Shares are in per cent, with 95 % intervals (Wilson). Variety is the mean distance between four seeds of a
prompt, over that between four real scenes of one caption, in the reader's features: 100 means that they differ as much.

    python benchmarks/composition.py emoji --data DATA --out composition --markdown table.md --sheet sheet.png

DATA is the folder that `examples/emoji_data.py` writes. What is read is kept in OUT/readings.jsonl as it comes, so that
a run that was killed goes on. `--sweep guidance=1,2,4 steps=10,20 interval=none,0.3:5` takes each system with each of
these settings; a stage of a cascade is named before: `0.guidance=1,2`.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice, zip_longest
from pathlib import Path

import torch
from asked import shown, wilson
from cells import CELLS, HELD_OUT, SPLITS, Prompt, again, is_found_again, prompts
from reader import Reader, Thing
from readings import Readings
from report import put
from rich.console import Console
from rich.progress import track
from sources import Source, sources_of
from ticked import Judged, page
from torch.nn.functional import pdist

from sfumato.disk import check_writable, replacing
from sfumato.errors import NotFoundError, SfumatoError
from sfumato.files import sha256
from sfumato.media.image import to_image

READER = Path(__file__).with_name("reader.safetensors")
TOGETHER, SEEDS, SHOWN = 16, 4, 64
MARK = "<!-- the rest is written by benchmarks/composition.py -->"
Asking = dict[tuple[str, str], list[Prompt]]
"""The prompts of each split and cell."""


def main(arguments: Sequence[str] | None = None) -> None:
    given = options().parse_args(arguments)
    for path in (given.markdown, given.sheet):
        if path is not None:
            check_writable(path.parent)
    if not given.reader.is_file():
        raise NotFoundError(f"there is no reader {given.reader}: benchmarks/fit_reader.py fits one")
    reader, print_of = Reader.load(given.reader), sha256(given.reader)[:12]
    asked = {(split, cell): prompts(given.data, cell, split, given.prompts) for split in given.splits for cell in CELLS}
    last = mixed([own for (split, _), own in asked.items() if split == given.splits[-1]])
    varied = [one for one in last if is_found_again(one)][: given.variety]
    sources = sources_of(given.systems, given.codec, given.sweep)
    readings = Readings(given.out / f"readings-{print_of}.jsonl")
    for source in sources:
        for (split, cell), own in asked.items():
            read(source, reader, own, readings, f"{source.name}: {cell}, {split}")
        vary(source, reader, varied, readings)

    report = markdown(sources, asked, varied, readings, print_of)
    print(report)
    put(given.markdown, MARK, report)
    if given.sheet:
        first = mixed([own for (split, _), own in asked.items() if split == HELD_OUT])[:SHOWN]
        with replacing(given.sheet) as beside:
            page(judged(sources[-1], first, readings)).save(beside, "PNG")


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", help="systems that ship, or folders of systems, cascades or runs")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the three parquet files")
    parser.add_argument("--out", type=Path, required=True, help="the folder that keeps what was read")
    parser.add_argument("--reader", type=Path, default=READER, help="the reader's weights")
    parser.add_argument("--codec", nargs="*", default=[], help="codecs that real scenes are read after, too")
    parser.add_argument("--prompts", type=int, default=200, help="of each cell")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="only these")
    parser.add_argument("--variety", type=int, default=48, help="how many prompts are drawn with four seeds each")
    parser.add_argument("--sweep", nargs="*", default=[], metavar="NAME=VALUES", help="settings to draw with")
    parser.add_argument("--markdown", type=Path, help=f"also write the table to this file, after its line {MARK}")
    parser.add_argument(
        "--sheet", type=Path, help=f"a PNG of the last system's first {SHOWN} prompts of held-out pairs"
    )
    return parser


# Reading --------------------------------------------------------------------------------------------------------------


def read(source: Source, reader: Reader, own: Sequence[Prompt], readings: Readings, what: str) -> None:
    """Have each prompt drawn and read, unless that is known."""
    missing = [one for one in own if key_of(source, one) not in readings]
    parts = [missing[start : start + TOGETHER] for start in range(0, len(missing), TOGETHER)]
    for part in track(parts, what, console=Console(stderr=True)):
        pictures = source.draw(part, [one.number for one in part])
        for one, things in zip(part, reader.read(pictures), strict=True):
            readings.add(key_of(source, one), {"things": [asdict(thing) for thing in things]})


def right(source: Source, one: Prompt, readings: Readings) -> bool:
    return shown(one.asked, [Thing(**thing) for thing in readings[key_of(source, one)]["things"]])


def vary(source: Source, reader: Reader, own: Sequence[Prompt], readings: Readings) -> None:
    """Measure the mean distance between pictures of each prompt, unless it is known."""
    missing = [one for one in own if key_of(source, one, "variety") not in readings]
    for one in track(missing, f"{source.name}: variety", console=Console(stderr=True)):
        several = [one, *islice(again(one), SEEDS - 1)] if source.real else [one] * SEEDS
        distance = pdist(reader.features(source.draw(several, range(SEEDS)))).mean().item()
        readings.add(key_of(source, one, "variety"), {"distance": distance})


def key_of(source: Source, one: Prompt, what: str = "read") -> str:
    return f"{what} {source.key} {one.number} {one.text}"


def mixed(cells: Sequence[Sequence[Prompt]]) -> list[Prompt]:
    """The first prompt of each cell, then the second of each."""
    return [one for row in zip_longest(*cells) for one in row if one is not None]


def judged(source: Source, own: Sequence[Prompt], readings: Readings) -> list[Judged]:
    """The pictures of prompts, drawn once more, with what was read of them."""
    parts = [own[start : start + TOGETHER] for start in range(0, len(own), TOGETHER)]
    pictures = torch.cat([source.draw(part, [one.number for one in part]) for part in parts])
    return [
        Judged(to_image(picture), one.text, right(source, one, readings))
        for picture, one in zip(pictures, own, strict=True)
    ]


# Figures --------------------------------------------------------------------------------------------------------------


def markdown(
    sources: Sequence[Source], asked: Asking, varied: Sequence[Prompt], readings: Readings, reader: str
) -> str:
    """A table of each split: the sources by the cells."""
    number = max(len(own) for own in asked.values())
    parts = [f"{number} prompts a cell, read by the reader `{reader}`: per cent, with 95 % intervals."]
    for split in dict.fromkeys(split for split, _ in asked):
        last = split == list(asked)[-1][0] and bool(varied)
        rows = [["", *CELLS, "mean", *(["variety"] if last else [])]]
        for source in sources:
            counts = [[right(source, one, readings) for one in asked[split, cell]] for cell in CELLS]
            mean = sum(sum(own) / len(own) for own in counts) / len(counts)
            row = [source.name, *(share(sum(own), len(own)) for own in counts), f"{100 * mean:.0f}"]
            rows.append([*row, f"{100 * spread(source, sources[0], varied, readings):.0f}"] if last else row)
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + " --- |" * len(rows[0]))
        parts.append(f"**{split}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def share(right: int, of: int) -> str:
    """In per cent, with its interval."""
    low, high = wilson(right, of)
    return f"{100 * right / of:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def spread(source: Source, real: Source, varied: Sequence[Prompt], readings: Readings) -> float:
    """The mean distance between pictures of a prompt, over that between real scenes of it."""
    own, theirs = (sum(readings[key_of(of, one, "variety")]["distance"] for one in varied) for of in (source, real))
    return own / theirs


if __name__ == "__main__":
    try:
        main()
    except SfumatoError as error:
        sys.exit(f"error: {error}")
