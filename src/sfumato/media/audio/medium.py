"""Sounds as a medium."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sfumato.arguments import listed, own, whole
from sfumato.disk import open_file
from sfumato.errors import FormatError, InputError, NonFiniteError, ShapeError, quoted
from sfumato.files import readable
from sfumato.media.audio.decode import read_sound, to_int16
from sfumato.media.audio.flac import flac, read_flac
from sfumato.media.audio.picture import sound_picture
from sfumato.media.audio.wav import read_wav, wav
from sfumato.media.html import data_uri, picture_html
from sfumato.media.image.png import png
from sfumato.media.image.sheet import sheet
from sfumato.media.keep import keep
from sfumato.media.metadata import pick_metadata
from sfumato.media.protocol import Keep, Record, Size
from sfumato.media.record import pick_format
from sfumato.wording import count

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_SAMPLES = 2**26
"""The longest sound: 50 minutes at 22,050 Hz."""
_WRITERS = {"wav": wav, "flac": flac}
_READERS = {b"RIFF": read_wav, b"fLaC": read_flac}


@dataclass(frozen=True)
class Audio:
    """Sounds: float [channels, samples] in [−1, 1] at `rate` samples a second, stored as int16; a size is (samples,).

    `rate` is from 1,000 to 192,000 Hz, `channels` from 1 to 8. Files other than WAV are written and read with the extra
    `audio` (soundfile; soxr for other rates).
    """

    rate: int = 22_050
    channels: int = 1
    noun: ClassVar[str] = "sound"
    plural: ClassVar[str] = "sounds"
    limit: ClassVar[float | None] = 1.0
    endings: ClassVar[tuple[str, ...]] = (".flac", ".ogg", ".wav")
    columns: ClassVar[tuple[str, ...]] = ("audio", "sound", "speech")
    formats: ClassVar[tuple[str, ...]] = ("wav", "flac")

    def __post_init__(self) -> None:
        whole("rate", self.rate, 1_000, 192_000)
        whole("channels", self.channels, 1, 8)

    def shape(self, size: Size) -> tuple[int, ...]:
        """[channels, samples]."""
        return (self.channels, *size)

    def check_size(self, size: Any) -> Size:
        """(samples,), from 1 to `MOST_SAMPLES`; a `ShapeError` for anything else."""
        found = listed("size", own(size))
        if len(found) != 1 or type(found[0]) is not int or not 1 <= found[0] <= MOST_SAMPLES:
            raise ShapeError(f"size must be (samples,), from 1 to {MOST_SAMPLES:,}, not {quoted(size)}")
        return tuple(found)

    def parse_size(self, text: str) -> Size:
        """The samples that "4.5s", in seconds, or "99225" spells."""
        found = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s?)\s*", text)
        if found is None or (not found[2] and "." in found[1]):
            raise InputError(f"a size reads SECONDSs or SAMPLES, as in 4.5s or 99225, not {quoted(text)}")
        return (round(float(found[1]) * self.rate) if found[2] else int(found[1]),)

    def size_text(self, size: Size) -> str:
        """ "4.5 s"; a few samples by their number."""
        (samples,) = size
        return f"{samples / self.rate:.4g} s" if samples * 100 >= self.rate else count(samples, "sample")

    def decode(self, data: bytes, name: str, size: Size | None = None) -> np.ndarray:
        """The sound in a file's bytes, int16 [channels, samples] at `rate`, cut after `size` or followed by silence up
        to it: see `read_sound`."""
        return read_sound(data, name, self.rate, self.channels, None if size is None else size[0])

    def floats(self, stored: Tensor) -> Tensor:
        """int16 → float32 in [−1, 1): x / 32768."""
        return stored.float().div_(32768)

    def write(
        self, datum: Tensor, record: Record, stem: Path, format: str | None = None, metadata: Keep = "full"
    ) -> Path:
        """Write a sound [channels, samples] with its record inside: a WAV of 16-bit samples, or "flac".

        Samples are rounded to the nearest, without dither, and clipped beyond [−1, 1); a NaN is a `NonFiniteError`.
        """
        format = pick_format(self, format)
        return keep(
            stem, f".{format}", _WRITERS[format](self._int16(datum), self.rate, *pick_metadata(record, metadata))
        )

    @staticmethod
    def read_record(path: Path) -> Record:
        """The record inside a WAV or FLAC file that `write` wrote; no sample is read."""
        with readable(path), open_file(path) as file:
            reader = _READERS.get(file.read(4))
            if reader is None:
                raise FormatError(f"{path} cannot be read as a WAV or FLAC: it is something else, or damaged")
            return reader(file, path)

    def preview(self, data: Tensor, columns: int | None = None, *, captions: Sequence[str] | None = None) -> "Image":
        """Sounds [n, channels, samples] on one sheet, each as its waveform above its log-mel spectrogram."""
        return sheet([sound_picture(self._checked(one), self.rate) for one in data], columns, captions=captions)

    def html(self, datum: Tensor) -> str:
        """A sound as its picture above an audio player."""
        image = sound_picture(self._checked(datum), self.rate)
        source = data_uri(wav(self._int16(datum), self.rate), "audio/wav")
        player = f'<audio controls preload="none" src="{source}" style="display:block;width:{image.width}px"></audio>'
        return picture_html(png(image), image.width, image.height) + player

    def _checked(self, datum: Tensor) -> Tensor:
        """The sound in float32; a `ShapeError` or a `NonFiniteError` if it is none."""
        if datum.ndim != 2 or len(datum) != self.channels or not datum.shape[1]:
            raise ShapeError(f"a sound is [{self.channels}, samples], not {list(datum.shape)}")
        if bool(datum.isnan().any()):
            raise NonFiniteError("a sound holds NaN, which is no sample: draw it in float32, or mend what gave it")
        return datum.detach().to("cpu", torch.float32).clamp(-1, 1)

    def _int16(self, datum: Tensor) -> np.ndarray:
        return to_int16(self._checked(datum).numpy())
