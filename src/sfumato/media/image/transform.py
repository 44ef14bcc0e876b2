"""From a picture of any mode, size and aspect to an array of one form."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from sfumato.errors import DataError, InputError
from sfumato.media.protocol import Size
from sfumato.wording import QUOTED, shortened

Fit = Literal["crop", "pad", "stretch"]
Color = tuple[int, int, int]

Resample = Literal["lanczos", "bilinear"]

WHITE: Color = (255, 255, 255)
_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bilinear": Image.Resampling.BILINEAR}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_GRAYSCALE = ("1", "L", "LA", *_SIXTEEN_BIT)


def to_array(
    image: Image.Image,
    *,
    size: Size,
    channels: int,
    fit: Fit = "crop",
    background: Color = WHITE,
    resample: Resample = "lanczos",
) -> npt.NDArray[np.uint8]:
    """The picture as uint8 [c, h, w], 0 to 255.

    `size` is (width, height). `channels` is 1 (ITU-R 601 luma), 3 (RGB) or 4 (RGB and alpha, not premultiplied); with
    1 or 3 a transparent picture is laid over `background` first. How the aspect is met is `fit`:

    - crop: the largest centred part of the right aspect, scaled to `size`;
    - pad: the whole picture, scaled to fit inside, centred on `background` (fully transparent with 4 channels);
    - stretch: the whole picture, its aspect given up.

    Scaling, up or down, is by the filter `resample`, on premultiplied colour. A picture that has the size already keeps
    its pixels. 16-bit grayscale (modes I;16 and I, 0 to 65535) is scaled by 1/257 and rounded; Pillow has cut 16-bit
    colour to its high byte before.

    Raises InputError for a wrong argument, DataError for a picture whose mode has no defined brightness.
    """
    check_transform(size, channels, fit, background)
    if 0 in image.size:
        raise DataError(f"expected a picture with pixels, came {image.width}x{image.height}")
    image = _flat(_plain(image), channels, background)
    if fit == "crop":
        image = _crop(image, size, _FILTERS[resample])
    elif fit == "pad":
        image = _pad(image, size, background, _FILTERS[resample])
    else:
        image = image.resize((size[0], size[1]), _FILTERS[resample])
    pixels = np.asarray(image, dtype=np.uint8)
    return np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), order="C")


def is_grayscale(image: Image.Image, background: Color = WHITE) -> bool:
    """Whether the picture is grayscale by its mode, also when laid over `background`."""
    return image.mode in _GRAYSCALE and (not image.has_transparency_data or len(set(background)) == 1)


def deepest(image: Image.Image) -> int | None:
    """The largest value of a picture of 16 bits, 0 to 65535; None for one of fewer."""
    return int(np.asarray(image).max(initial=0)) if image.mode in _SIXTEEN_BIT else None


def check_transform(size: Size, channels: int, fit: str, background: Color) -> None:
    """Raises InputError unless `to_array` can use these arguments."""
    if not (_integers(size, 2) and all(1 <= side <= 65_535 for side in size)):
        raise InputError(f"size: expected (width, height), each 1 to 65535, came {size!r}")
    if not (_integers((channels,), 1) and channels in _MODES):
        raise InputError(f"channels: expected 1 (grayscale), 3 (RGB) or 4 (RGBA), came {channels!r}")
    if fit not in get_args(Fit):
        raise InputError(f"fit: expected one of {', '.join(get_args(Fit))}, came {fit!r}")
    if not (_integers(background, 3) and all(0 <= value <= 255 for value in background)):
        raise InputError(f"background: expected (red, green, blue), each 0 to 255, came {background!r}")


def _integers(values: object, number: int) -> bool:
    if not isinstance(values, tuple) or len(values) != number:
        return False
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _plain(image: Image.Image) -> Image.Image:
    """The picture in mode L, RGB or RGBA, 8 bits a channel."""
    if image.mode in _SIXTEEN_BIT:
        return _from_sixteen_bit(image)
    if image.mode == "F":
        raise DataError("expected whole numbers, came a floating-point picture; save it with 8 or 16 bits")
    target = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    try:
        return image.convert(target)
    except Exception as error:  # Pillow raises several kinds for modes and palettes that it cannot convert
        raise DataError(
            f"expected a picture that converts to {target}, came mode {image.mode} ({shortened(str(error), QUOTED)})"
        ) from error


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65_535:
        raise DataError(f"expected 16-bit grayscale, 0 to 65535, came {low} to {high}; save it with 8 or 16 bits")
    # floor((v + 128) / 257) is v / 257 rounded, in whole numbers.
    grayscale = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grayscale
    alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    return Image.merge("RGBA", (grayscale, grayscale, grayscale, alpha))


def _flat(image: Image.Image, channels: int, background: Color) -> Image.Image:
    """The picture in the mode of so many channels, laid over the background if alpha is not among them."""
    if image.mode == "RGBA" and channels != 4:
        below = Image.new("RGBA", image.size, (*background, 255))
        below.alpha_composite(image)
        image = below.convert("RGB")
    return image.convert(_MODES[channels])


def _crop(image: Image.Image, size: Size, resample: Image.Resampling) -> Image.Image:
    width, height = image.size
    if width * size[1] > height * size[0]:
        width = height * size[0] / size[1]
    else:
        height = width * size[1] / size[0]
    # Whole offsets, so that a crop which needs no scaling moves no pixel by a half.
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.resize((size[0], size[1]), resample, box=(left, top, left + width, top + height))


def _pad(image: Image.Image, size: Size, background: Color, resample: Image.Resampling) -> Image.Image:
    width, height = size
    if image.width * height > image.height * width:
        height = max(1, round(image.height * width / image.width))
    else:
        width = max(1, round(image.width * height / image.height))
    canvas = Image.new("RGBA", (size[0], size[1]), (*background, 0)).convert(image.mode)
    inside = image.resize((width, height), resample)
    canvas.paste(inside, ((size[0] - width) // 2, (size[1] - height) // 2))
    return canvas
