"""Whatever draws: a system, or a cascade of them."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Unpack

import torch

from sfumato import machine
from sfumato.condition import Prompt
from sfumato.errors import InputError, quoted
from sfumato.media.protocol import Record
from sfumato.notebook import NotebookBar
from sfumato.system.draw import Frame
from sfumato.system.drawing import Drawing
from sfumato.system.repeat import from_record, threads_of
from sfumato.system.samples import Samples


class Planned(Protocol):
    """A drawing that is checked, and whose `samples`, a prompt and a seed each, are settled in `batches`: each is drawn
    to the same bits whichever others are."""

    @property
    def samples(self) -> list[tuple[Prompt, int]]: ...

    @property
    def batches(self) -> list[slice]:
        """The samples that are drawn at once, by their numbers."""
        ...

    def records(self, rows: slice = slice(None)) -> list[Record]:
        """The records of these samples, as their files will carry them."""
        ...

    def frames(self, batches: Sequence[slice] | None = None) -> Iterator[Frame]:
        """A frame after every step of these batches, of all if None."""
        ...


class Pipeline:
    """Draws from a prompt and seeds, as diffusers' pipelines do. A subclass gives `plan` and its `fingerprint`."""

    def __init__(self) -> None:
        self.opened: dict[str, Any] = {}
        """The names by which it was opened, for records: the `model`, as `sfumato generate` takes it."""

    @property
    def device(self) -> torch.device:
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything that decides a sample does."""
        raise NotImplementedError

    def plan(self, prompts: Prompt | Sequence[Prompt] = None, /, **drawing: Unpack[Drawing]) -> Planned:
        """Check what `generate` would draw, to draw it in parts: by other processes, or without what is there already.

        planned = system.plan(prompts, seeds=range(100))
        mine = planned.batches[rank::processes]
        for frame in planned.frames(mine): ...
        """
        raise NotImplementedError

    def warnings(self, prompts: Sequence[Prompt]) -> list[str]:
        """What these prompts ask for that is not drawn as it is asked for, a line each."""
        return []

    def stream(self, prompts: Prompt | Sequence[Prompt] = None, /, **drawing: Unpack[Drawing]) -> Iterator[Frame]:
        """Draw as `generate` does, giving a `Frame` after every step. Arguments are checked before the first."""
        return self.plan(prompts, **drawing).frames()

    def generate(self, prompts: Prompt | Sequence[Prompt] = None, /, **drawing: Unpack[Drawing]) -> Samples:
        """Draw one sample for each prompt and seed, prompt by prompt; `Drawing` lists the arguments.

        In a notebook a bar shows how far it is; `stream` shows nothing.
        """
        drawn: list[Samples] = []
        with NotebookBar() as bar:
            for frame in self.stream(prompts, **drawing):
                bar.show(frame.done / frame.total, f"step {frame.done:,} of {frame.total:,}")
                drawn += [frame.samples] if frame.samples is not None else []
        return Samples.concat(drawn)

    def repeat(self, record: Record) -> Samples:
        """The sample of a record, drawn again: `system.repeat(read_record("cat-3.png"))`; on the CPU with as many
        threads as it was drawn with.

        Raises an `InputError` for the record of another system, or where what the sample was drawn with is gone or has
        changed.
        """
        other = record.get("system") if isinstance(record, dict) else None
        if other != (own := self.fingerprint()):
            raise InputError(f"this record is of the system {quoted(other)}, and this is {own}: load the one it names")
        drawing = from_record(record, self.device)
        with machine.threads(threads_of(record) if self.device.type == "cpu" else None):
            return self.generate(**drawing)
