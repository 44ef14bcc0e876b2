"""What a system drew, ready to look at, to keep and to repeat."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sfumato.arguments import listed
from sfumato.errors import InputError, NonFiniteError, SfumatoError, quoted
from sfumato.media import Image, Medium
from sfumato.media.image import png, to_image
from sfumato.media.keep import numbered
from sfumato.media.protocol import Keep, Record
from sfumato.media.record import pick_format, record_text
from sfumato.parts import MEDIA
from sfumato.system.naming import NameTemplate, checked_name, names, stem
from sfumato.wording import shortened

if TYPE_CHECKING:
    import PIL.Image

MOST_SHOWN, MOST_SHOWN_NUMBERS = 64, 2**24
"""How many samples a notebook shows at once, and how many numbers of theirs: what is shown is kept in the notebook."""


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Samples of one medium: `data` [n, *d], as the medium holds them (pictures float32 in [−1, 1]), and for each a
    record that says how to repeat it.

    Indexing and slicing give samples, and `+` joins them. In a notebook they show themselves. Raises an `InputError`
    unless there are as many records as data.
    """

    data: Tensor
    medium: Medium
    records: tuple[Record, ...]

    def __post_init__(self) -> None:
        if len(self.records) != len(self.data):
            raise InputError(f"each sample wants a record: {len(self.data)} samples came with {len(self.records)}")

    def __repr__(self) -> str:
        noun = self.medium.noun if len(self) == 1 else self.medium.plural
        return f"Samples({len(self)} {noun}, {list(self.data.shape[1:])})"

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int | slice) -> "Samples":
        """Some of the samples, or one; an `IndexError` beyond the last."""
        own = index if isinstance(index, slice) else slice(place := range(len(self))[index], place + 1)
        places = range(len(self))[own]
        return Samples(self.data[list(places)], self.medium, tuple(self.records[i] for i in places))

    def __iter__(self) -> Iterator["Samples"]:
        return (self[i] for i in range(len(self)))

    def __add__(self, other: "Samples") -> "Samples":
        return Samples.concat([self, other])

    @staticmethod
    def concat(parts: Iterable["Samples"]) -> "Samples":
        """Samples of one medium and shape, one after the other; an `InputError` for others, and for none."""
        parts = list(parts)
        if wrong := [part for part in parts if not isinstance(part, Samples)]:
            raise InputError(f"only samples can be joined to samples, not {quoted(wrong[0])}")
        if not parts or any(p.medium != parts[0].medium or p.data.shape[1:] != parts[0].data.shape[1:] for p in parts):
            raise InputError("only samples of one medium and one shape can be joined, and at least one part of them")
        records = tuple(record for part in parts for record in part.records)
        return Samples(torch.cat([part.data for part in parts]), parts[0].medium, records)

    def images(self) -> "list[PIL.Image.Image]":
        """The pictures, as Pillow's; an `InputError` for another medium, which `preview` shows."""
        if not isinstance(self.medium, Image):
            raise InputError(f"{self.medium.plural} are no pictures: preview() shows them, and save() writes them")
        return [to_image(picture) for picture in self.data]

    def preview(self, columns: int | None = None, *, captions: bool = False) -> "PIL.Image.Image":
        """All samples on one picture, `columns` side by side: pictures on a sheet, sounds as spectrograms, texts as
        pages. With `captions` their prompts stand above them, once above neighbours that share one."""
        if not captions:
            return self.medium.preview(self.data, columns)
        return self.medium.preview(self.data, columns, captions=[_caption(record) for record in self.records])

    def save(
        self,
        folder: str | Path,
        format: str | None = None,
        *,
        metadata: Keep = "full",
        name: str | Sequence[str] | None = None,
        start: int = 0,
    ) -> list[Path]:
        """Write each sample as `PROMPT-SEED.png` into `folder`, in a format of the medium, its first if None; returns
        the paths.

        `name` is a template of other names, as `{index:05}-{seed}` (`NameTemplate`), of which the first sample is
        number `start`; or the names themselves, one a sample.

        Inside are its record and the mark that a model made it; with `metadata` "source" the mark alone, with "none"
        nothing.

        Another file of that name stays, and the new one is numbered; the same one is not written twice.
        """
        if self.data.is_floating_point() and bool(self.data.isnan().any()):  # before the first is written
            raise NonFiniteError(f"a {self.medium.noun} holds NaN: draw it in float32, or mend what gave it")
        return [
            self.medium.write(datum, record, Path(folder) / own, format, metadata)
            for datum, record, own in zip(self.data, self.records, self._names(name, start), strict=True)
        ]

    def _names(self, name: str | Sequence[str] | None, start: int) -> list[str]:
        """The names of the files, without their endings."""
        if name is None:
            return [stem(record) for record in self.records]
        if isinstance(name, str):
            asked = [(record.get("prompt"), record.get("seed", 0)) for record in self.records]
            return names(asked, [NameTemplate(name)] * len(asked), start)
        own = [checked_name(str(one)) for one in listed("name", name)]
        if len(own) != len(self):
            raise InputError(f"name is a template, or a name for each of the {len(self):,} samples: {len(own):,} came")
        return own

    # In a notebook ----------------------------------------------------------------------------------------------------

    def _repr_png_(self) -> bytes:
        """The first samples on one picture, as a PNG."""
        return png(self._first().preview())

    def _repr_html_(self) -> str:
        """The first samples side by side, each as its medium shows it, above its prompt and seed."""
        shown = self._first()
        figures = "".join(_figure(self.medium.html(x), r) for x, r in zip(shown.data, shown.records, strict=True))
        more = f"<p>… and {rest:,} more</p>" if (rest := len(self) - len(shown)) else ""
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px;align-items:flex-start">{figures}</div>{more}'

    def _first(self) -> "Samples":
        return self[: min(MOST_SHOWN, max(MOST_SHOWN_NUMBERS // max(self.data[:1].numel(), 1), 1))]


def read_record(path: Path) -> Record:
    """The record inside a file that `Samples.save` wrote, of the medium whose ending it has; that of a picture if none.

    Raises a `FormatError` where there is no record.
    """
    found = (known for known in MEDIA.kinds.values() if path.suffix.lower() in known.endings)
    return next(found, Image).read_record(path)


def find_saved(stem: Path, record: Record, medium: Medium, format: str | None = None) -> Path | None:
    """The file of this name that carries the record, numbered as `save` numbers it; None if it is not there. One that
    carries another, or none that can be read, is another's."""
    wanted = json.loads(record_text(record))
    for own in numbered(stem):
        path = own.with_name(f"{own.name}.{pick_format(medium, format)}")
        if not os.path.lexists(path):
            return None
        with suppress(SfumatoError, OSError):
            if medium.read_record(path) == wanted:
                return path
    raise AssertionError


def _figure(shown: str, record: Record) -> str:
    """A sample's HTML above its prompt and seed, in which nothing of theirs is markup."""
    words = [shortened(str(record[name])) for name in ("prompt", "seed") if record.get(name) is not None]
    return f'<figure style="margin:0">{shown}<figcaption>{escape(" · ".join(words))}</figcaption></figure>'


def _caption(record: Record) -> str:
    prompt = record.get("prompt")
    return "" if prompt is None else str(prompt)
