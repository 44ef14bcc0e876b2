"""What data are, found without reading all of them: enough to choose a recipe by."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from sfumato.data.dataset import size_of
from sfumato.data.decoder import decoder_of, quiet
from sfumato.data.source import DataSource, open_source
from sfumato.errors import DataError, InputError
from sfumato.media import Audio, Image
from sfumato.media.image.transform import WHITE

_LOOKED_AT = 15


@dataclass(frozen=True)
class Survey:
    """`count` data: `sounds`, or else pictures whose shorter side is about `side`; so many `classes`; `captioned`, if
    most have a caption; `grey`, if none of those looked at has a colour."""

    count: int
    sounds: bool = False
    side: int = 32
    classes: int = 0
    captioned: bool = False
    grey: bool = False


def survey(where: str) -> Survey:
    """What the data at `where` are. Raises what `open_source` does where they are neither pictures nor sounds."""
    source = _open(where)
    n = len(source)
    captioned = 2 * sum(bool(source.captions(i)) for i in range(n)) > n
    if not isinstance(source.medium, Image):
        return Survey(n, sounds=True, classes=len(source.classes), captioned=captioned)
    sides, grey = _look(source)
    side = int(np.median(sides)) if sides else Survey.side
    return Survey(n, False, side, len(source.classes), captioned, grey)


def _open(where: str) -> DataSource:
    try:
        return open_source(where)
    except (DataError, InputError):
        with suppress(DataError, InputError):
            return open_source(where, Audio())
        raise


def _look(source: DataSource) -> tuple[list[int], bool]:
    """The shorter sides of some pictures from all over the data, and whether all of these are grey."""
    decode = decoder_of(source.medium, None, None, "crop", WHITE)
    sides, colours = list[int](), False
    with quiet():
        for i in np.linspace(0, len(source) - 1, min(_LOOKED_AT, len(source))).round().astype(int).tolist():
            with suppress(DataError):
                seen = decode(source.read(i), source.name(i))
                sides.append(min(size_of(seen.stored.shape)))
                colours = colours or not seen.trait[0]
    return sides, not colours
