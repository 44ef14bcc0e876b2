"""From data as a source keeps them to their stored form, medium by medium."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import PIL.Image

from sfumato.errors import DataError, InputError
from sfumato.media import Embedding, Image, Layout, Medium, Size
from sfumato.media.image import Fit, decode, to_array
from sfumato.media.image.transform import WHITE, Color, Resample, check_transform, deepest, is_grayscale
from sfumato.wording import brief, count

Kept = bytes | npt.NDArray[Any]
"""A datum as a source keeps it: an encoded file, or the numbers themselves: of a picture [h, w] or [h, w, c], and of
the media `NUMBERS` all of them in a row."""
NUMBERS = (Embedding, Layout)
"""The media of which a datum is real numbers, whose stored form is float32."""


@dataclass(frozen=True)
class Decoded:
    """A datum in its stored form, and the `trait` of it that its decoder's `conclude` needs."""

    stored: npt.NDArray[Any]
    trait: Any = None


class Decoder(Protocol):
    """Brings every datum of a medium to one form; from any thread, and in any process that it is sent to."""

    @property
    def settings(self) -> list[Any]:
        """The settings that the form follows from, as JSON."""
        ...

    def __call__(self, kept: Kept, name: str) -> Decoded:
        """The datum in its stored form. Raises DataError, naming it, if it is broken."""
        ...

    def conclude(self, traits: Sequence[Any]) -> tuple[Medium, list[str]]:
        """The medium of all data decoded, of each of which the first `channels` count, and notes on them."""
        ...


def decoder_of(medium: Medium, size: Size | None, channels: int | None, fit: Fit, background: Color) -> Decoder:
    """The decoder of a medium's data. Raises InputError for an argument that it cannot use."""
    if isinstance(medium, Image):
        check_transform((1, 1) if size is None else size, 3 if channels is None else channels, fit, background)
        return PictureDecoder(size, channels, fit, background)
    for name, given, only in (("channels", channels, medium.channels), ("fit", fit, "crop")):
        if given not in (None, only):
            raise InputError(
                f"{name}: expected {only!r}, the only one for {medium.plural}, came {given!r}; leave it out"
            )
    return PlainDecoder(medium, None if size is None else medium.check_size(size))


@dataclass(frozen=True)
class PlainDecoder:
    """The medium's own decoder, at one `size`."""

    medium: Medium
    size: Size | None

    @property
    def settings(self) -> list[Any]:
        return [repr(self.medium)]

    def __call__(self, kept: Kept, name: str) -> Decoded:
        if isinstance(kept, bytes):
            return Decoded(self.medium.decode(kept, name, self.size))
        return Decoded(self._shaped(kept, name))

    def _shaped(self, kept: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """Numbers in a row as a datum of the size."""
        shape = kept.shape if self.size is None else self.medium.shape(self.size)
        if kept.size != math.prod(shape) or not np.isfinite(kept).all():
            came = f"{kept.size:,}" if kept.size != math.prod(shape) else "one that is not"
            wanted = f"expected {math.prod(shape):,} finite numbers"
            raise DataError(f"{brief(name)}: {wanted}, came {came}; replace them or take the row out")
        return kept.reshape(shape)

    def conclude(self, traits: Sequence[Any]) -> tuple[Medium, list[str]]:
        return self.medium, []


@dataclass(frozen=True)
class PictureDecoder:
    """Pictures by `to_array`, at one `size`, or each at its own if that is None.

    With `channels` None they are RGB; but if every one is grayscale, they are left with one channel.
    """

    size: Size | None
    channels: int | None = None
    fit: Fit = "crop"
    background: Color = WHITE
    resample: Resample = "lanczos"

    @property
    def settings(self) -> list[Any]:
        return [self.fit, self.background]

    def conditioning(self, size: Size) -> "PictureDecoder":
        """The decoder of what pictures of that size are conditioned on: as the link `Upsample` resizes."""
        return replace(self, size=size, resample="bilinear")

    def __call__(self, kept: Kept, name: str) -> Decoded:
        image = decode(kept, name) if isinstance(kept, bytes) else PIL.Image.fromarray(kept)
        width, height = self.size or image.size
        stored = to_array(
            image,
            size=(width, height),
            channels=self.channels or 3,
            fit=self.fit,
            background=self.background,
            resample=self.resample,
        )
        return Decoded(stored, (is_grayscale(image, self.background), deepest(image)))

    def conclude(self, traits: Sequence[Any]) -> tuple[Medium, list[str]]:
        channels = self.channels or (1 if all(grayscale for grayscale, _ in traits) else 3)
        return Image(channels), _darkness([deep for _, deep in traits if deep is not None])


def _darkness(deep: list[int]) -> list[str]:
    """A note on pictures of 16 bits that use none of the upper four, as those of a camera's 12 bits do."""
    if not deep or max(deep) >= 2**12:
        return []
    what = f"{count(len(deep), 'picture')} of 16 bits, all below 1/16 of white (at most {max(deep):,} of 65,535)"
    return [f"{what}: nearly black; scale them if white is less"]


@contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings; around threads and not in each, for the filters are one list for the whole process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
