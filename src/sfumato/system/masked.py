"""Pictures in files that a network is conditioned on: one to paint within, beside its mask, or one as it is."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sfumato.codec import Codec, Latent
from sfumato.core.condition import Condition
from sfumato.disk import open_file
from sfumato.errors import DataError, InputError, NotFoundError
from sfumato.media import Image
from sfumato.media.image import decode, to_array
from sfumato.media.image.transform import WHITE, Color, Resample
from sfumato.media.protocol import Record, Size
from sfumato.wording import brief

BLACK: Color = (0, 0, 0)
"""Shows through a mask where it is transparent: nothing was painted there, so nothing is to be new."""
MOST_BYTES = 2**28
MASKED, AS_IT_IS = "masked-image", "conditioning-image"
"""The kinds of such conditions in a record."""


@dataclass(frozen=True)
class MaskedImage:
    """The picture in the file `image`, laid over white, to paint within where the file `mask` is white:
    `System.generate(condition=MaskedImage("photo.png", "mask.png"))`.

    Both are cropped and scaled to the size that is drawn. Raises `DataError` for a file that is no picture, and
    `InputError` with a codec that has no latents.
    """

    image: str | Path
    mask: str | Path

    def __call__(self, codec: Codec, size: Size, /) -> tuple[Condition, Record]:
        """`codec.masked_condition` of the two, and their paths with the SHA-256 of their bytes."""
        if not isinstance(codec, Latent):
            raise InputError("this system does not paint within pictures: leave the picture and the mask out")
        image, mask = _read(Path(self.image)), _read(Path(self.mask))
        picture = _unit(image, self.image, size, codec.medium.channels, WHITE) * 2 - 1
        condition = codec.masked_condition(picture, _unit(mask, self.mask, size, 1, BLACK)[0])
        return condition, {"kind": MASKED, "image": _file(self.image, image), "mask": _file(self.mask, mask)}


@dataclass(frozen=True)
class ConditioningImage:
    """The picture in the file `image`, laid over white, for a system that was trained with `condition.image`:
    `System.generate(condition=ConditioningImage("canvas.png"))`.

    It is cropped and bilinearly scaled to the size that is drawn, as in training, and brought into the space of the
    codec. Raises `DataError` for a file that is no picture, and `InputError` with a codec that is not of pictures.
    """

    image: str | Path

    def __call__(self, codec: Codec, size: Size, /) -> tuple[Condition, Record]:
        """`concat`, and the path with the SHA-256 of the bytes there."""
        if not isinstance(codec.medium, Image):
            raise InputError(f"this system draws {codec.medium.plural}: leave the picture out")
        image = _read(Path(self.image))
        picture = _unit(image, self.image, size, codec.medium.channels, WHITE, "bilinear") * 2 - 1
        return Condition(concat=codec.encode(picture[None])), {"kind": AS_IT_IS, "image": _file(self.image, image)}


def picture_sha256(path: Path) -> str:
    """The SHA-256 of a picture's file, as records hold it; a `DataError` if it cannot be read."""
    return _sha256(_read(path))


def _read(path: Path) -> bytes:
    """The bytes of a picture's file; a `NotFoundError` if it is not there, a `DataError` if it cannot be read, or is
    absurdly large."""
    try:
        if not path.is_file():
            raise NotFoundError(f"there is no picture {brief(str(path))}")
        with open_file(path) as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"{brief(str(path))}: cannot be read: {error}; give another picture") from error
    if len(data) > MOST_BYTES:
        raise DataError(f"{brief(str(path))}: expected a picture of at most {MOST_BYTES:,} bytes, came more")
    return data


def _unit(
    data: bytes, path: str | Path, size: Size, channels: int, background: Color, resample: Resample = "lanczos"
) -> Tensor:
    """A picture [c, h, w] in [0, 1], of that size (width, height)."""
    image = decode(data, str(path))
    pixels = to_array(image, size=size, channels=channels, background=background, resample=resample)
    return torch.from_numpy(pixels).to(torch.float32) / 255


def _file(path: str | Path, data: bytes) -> Record:
    """What a record says of a file."""
    return {"path": str(path), "sha256": _sha256(data)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
