"""What `sfumato generate` draws: lines and options become batches, each known to the end before the first is drawn."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato import machine
from sfumato.cli.prompts import MOST_AT_ONCE, Line
from sfumato.cli.report import Report
from sfumato.errors import InputError, SfumatoError, quoted
from sfumato.launcher import Part
from sfumato.media import Medium
from sfumato.media.protocol import Keep, Record
from sfumato.system import Cascade, Drawing, Samples, System
from sfumato.system.naming import NameTemplate, names
from sfumato.system.pipeline import Planned
from sfumato.system.samples import find_saved


@dataclass(frozen=True)
class Target:
    """Where samples are written, and how."""

    folder: Path
    medium: Medium
    format: str | None = None
    metadata: Keep = "full"

    def find(self, name: str, record: Record) -> Path | None:
        """The file of that name that is there with this record."""
        return find_saved(self.folder / name, record, self.medium, self.format)

    def save(self, sample: Samples, name: str) -> Path:
        (path,) = sample.save(self.folder, self.format, metadata=self.metadata, name=[name])
        return path


@dataclass(frozen=True)
class Work:
    """Samples that are drawn at once: the `rows` of a drawing. Each has a number among all samples and a name."""

    drawing: Planned
    rows: slice
    numbers: Sequence[int]
    names: Sequence[str]

    @property
    def records(self) -> list[Record]:
        return self.drawing.records(self.rows)


def work_of(
    system: System | Cascade,
    lines: Sequence[Line],
    seeds: Callable[[Line], list[int]],
    drawing: Drawing,
    template: Callable[[int], str | None],
) -> list[Work]:
    """The batches of all lines; `template` gives that of the names of so many samples.

    Lines that ask for the same settings are drawn together; a sample's number is its place in the order of lines and
    seeds. Raises an `InputError` that names the line which cannot be drawn.
    """
    own: list[list[int]] = []
    starts = [0]
    for line in lines:
        own.append(_at(line, lambda line=line: seeds(line)))
        starts.append(starts[-1] + len(own[-1]))
        if starts[-1] > MOST_AT_ONCE:  # before memory is short
            raise InputError(f"more than {MOST_AT_ONCE:,} samples were asked for, the most at once: draw in parts")
    count = starts[-1]
    called = _names(lines, own, template(count))
    found: list[Work] = []
    for group in _groups(lines):
        planned = _planned(system, [lines[i] for i in group], [own[i] for i in group], drawing)
        numbers = [number for i in group for number in range(starts[i], starts[i + 1])]
        for rows in planned.batches:
            found.append(Work(planned, rows, numbers[rows], [called[number] for number in numbers[rows]]))
    return found


def draw(work: Sequence[Work], target: Target, report: Report, skip_existing: bool = False) -> list[Path]:
    """Draw the batches and write every sample; returns the files whose names were another's, and which are numbered.

    With `skip_existing` a batch of which all files are there is not drawn. One of which some are is drawn as a whole,
    because rounding differs with the size of a batch, and what is missing is written.
    """
    numbered = []
    for batch in work:
        records = batch.records
        there = [target.find(*known) if skip_existing else None for known in zip(batch.names, records, strict=True)]
        began, samples = time.monotonic(), _drawn(batch, report) if None in there else None
        seconds = (time.monotonic() - began) / len(there)
        for i, path in enumerate(there):
            if samples is not None and path is None:
                path = target.save(samples[i], batch.names[i])
                numbered += [path] if path.stem != Path(batch.names[i]).name else []
            assert path is not None
            report.file(path, records[i], batch.numbers[i], seconds if there[i] is None else None)
    return numbered


def _drawn(batch: Work, report: Report) -> Samples:
    """The samples of a batch."""
    parts: list[Samples] = []
    for frame in batch.drawing.frames([batch.rows]):
        report.step(frame, len(batch.names))
        parts += [] if frame.samples is None else [frame.samples]
    return Samples.concat(parts)


def own_device(device: str | None, share: Part) -> str | None:
    """The device of this process, where several share a machine that has several: `cuda` is one of its own."""
    if share.count == 1 or machine.pick_device(device).type != "cuda" or (device is not None and ":" in device):
        return device
    import torch

    return f"cuda:{share.local % torch.cuda.device_count()}"


def _groups(lines: Sequence[Line]) -> list[list[int]]:
    """The lines of the same settings, by their places."""
    groups: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        groups.setdefault(json.dumps(line.options, sort_keys=True), []).append(place)
    return list(groups.values())


def _planned(system: System | Cascade, lines: Sequence[Line], seeds: Sequence[list[int]], drawing: Drawing) -> Planned:
    """The drawing of lines of the same settings; where it cannot be, the error of the first line that cannot."""
    try:
        options = _options(lines[0].options, system.medium)
        asked = Drawing(**{**drawing, **options, "prompt": [line.prompt for line in lines], "seeds": seeds})
        return system.plan(**asked)
    except SfumatoError:
        if len(lines) == 1:
            with _named(lines[0]):
                raise
        half = len(lines) // 2
        for part in (slice(half), slice(half, None)):
            _planned(system, lines[part], seeds[part], drawing)
        raise


def _options(options: dict[str, Any], medium: Medium) -> dict[str, Any]:
    """A line's options of a drawing, as `Drawing` has them: a size may be spelled."""
    found = dict(options)
    if isinstance(size := found.get("size"), str):
        found["size"] = medium.parse_size(size)
    return found


def _names(lines: Sequence[Line], seeds: Sequence[list[int]], template: str | None) -> list[str]:
    """The name of each sample, by its line's template or by that of all."""
    common = None if template is None else NameTemplate(template)
    samples, templates = [], []
    for line, own in zip(lines, seeds, strict=True):
        if line.name is not None and not isinstance(line.name, str):
            raise InputError(f"{line.where}: a name is a text, not {quoted(line.name)}")
        mine = common if line.name is None else _at(line, lambda line=line: NameTemplate(line.name))
        samples += [(line.prompt, seed) for seed in own]
        templates += [mine] * len(own)
    return names(samples, templates)


def _at(line: Line, make: Callable[[], Any]) -> Any:
    """What `make` gives; its error names the line."""
    with _named(line):
        return make()


@contextmanager
def _named(line: Line) -> Iterator[None]:
    """Where an error arises within, it names the line, if it is one of a file."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{line.where}: {error}" if line.where else str(error)) from error
