"""Every mode, size and aspect becomes one form, with the pixels one can work out by hand."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.small_pictures import encode, noise
from sfumato.errors import DataError, InputError
from sfumato.media.image import Fit, decode, to_array
from sfumato.media.image.transform import is_grayscale

FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
RED, BLUE = (255, 0, 0), (0, 0, 255)
LUMA_RED = 76  # 0.299 * 255


def pixel(image: Image.Image, channels: int = 3, **options: Any) -> list[int]:
    """The one value of each channel of a picture of one colour."""
    array = to_array(image, size=image.size, channels=channels, **options)
    assert array.shape == (channels, image.height, image.width) and array.dtype == np.uint8
    flat = array.reshape(channels, -1)
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].tolist()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", (1, 3, 4))
def test_a_picture_of_the_size_keeps_its_pixels(fit: Fit, channels: int) -> None:
    image = noise(7, 5, channels)
    array = to_array(image, size=(7, 5), channels=channels, fit=fit)
    expected = np.asarray(image).reshape(5, 7, channels).transpose(2, 0, 1)
    np.testing.assert_array_equal(array, expected)
    assert array.flags.c_contiguous and array.flags.writeable


@pytest.mark.parametrize(
    ("image", "rgb", "grayscale"),
    [
        (Image.new("1", (3, 2), 1), [255, 255, 255], 255),
        (Image.new("L", (3, 2), 90), [90, 90, 90], 90),
        (Image.new("RGB", (3, 2), RED), [255, 0, 0], LUMA_RED),
        (Image.new("RGB", (3, 2), RED).convert("P"), [255, 0, 0], LUMA_RED),
        (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), [255, 0, 0], LUMA_RED),
        (Image.new("RGB", (3, 2), (80, 80, 80)).convert("YCbCr"), [80, 80, 80], 80),
        (Image.new("LA", (3, 2), (40, 255)), [40, 40, 40], 40),
        (Image.new("LA", (3, 2), (40, 0)), [0, 0, 255], 29),
        (Image.new("RGBA", (3, 2), (*RED, 255)), [255, 0, 0], LUMA_RED),
        (Image.new("RGBA", (3, 2), (*RED, 0)), [0, 0, 255], 29),
        (Image.new("RGBA", (3, 2), (*RED, 51)), [51, 0, 204], 39),
        (Image.new("I", (3, 2), 65_535), [255, 255, 255], 255),
        (Image.new("I;16", (3, 2), 257 * 7), [7, 7, 7], 7),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_every_mode_over_a_blue_background(image: Image.Image, rgb: list[int], grayscale: int) -> None:
    assert pixel(image, background=BLUE) == rgb
    assert pixel(image, 1, background=BLUE) == [grayscale]


def test_four_channels_keep_alpha() -> None:
    assert pixel(Image.new("RGBA", (3, 2), (9, 8, 7, 51)), 4) == [9, 8, 7, 51]
    assert pixel(Image.new("L", (3, 2), 9), 4) == [9, 9, 9, 255]


def test_a_palette_may_be_transparent_in_one_entry_or_by_degrees() -> None:
    image = Image.frombytes("P", (2, 1), b"\x00\x01")
    image.putpalette([255, 0, 0, 0, 255, 0])
    for transparency, alpha in ((0, 0), (b"\x33\xff", 51)):
        found = decode(encode(image, transparency=transparency), "a")
        assert found.mode == "P"
        array = to_array(found, size=(2, 1), channels=4)
        assert array[3].tolist() == [[alpha, 255]]
        assert array[:3, 0, 1].tolist() == [0, 255, 0]
        over = to_array(found, size=(2, 1), channels=3, background=BLUE)
        assert over[:, 0, 0].tolist() == [alpha, 0, 255 - alpha]


def test_a_grayscale_or_color_png_may_name_one_transparent_value() -> None:
    grayscale = decode(encode(Image.fromarray(np.array([[5, 6]], dtype=np.uint8)), transparency=5), "a")
    assert to_array(grayscale, size=(2, 1), channels=1, background=(200, 200, 200)).tolist() == [[[200, 6]]]
    deep = decode(encode(Image.fromarray(np.array([[5, 257]], dtype=np.uint16)), transparency=5), "a")
    assert to_array(deep, size=(2, 1), channels=1, background=(200, 200, 200)).tolist() == [[[200, 1]]]
    colour = decode(encode(Image.new("RGB", (2, 1), RED), transparency=RED), "a")
    assert to_array(colour, size=(2, 1), channels=4)[3].tolist() == [[0, 0]]


@pytest.mark.parametrize("format", ("PNG", "TIFF"))
def test_sixteen_bits_are_scaled_and_rounded_not_cut(format: str) -> None:
    values = np.array([[0, 128, 129, 257, 32_768, 65_406, 65_407, 65_535]], dtype=np.uint16)
    image = decode(encode(Image.fromarray(values), format), "a")
    expected = [round(value / 257) for value in values[0].tolist()]
    assert to_array(image, size=(8, 1), channels=1)[0, 0].tolist() == expected == [0, 0, 1, 1, 128, 254, 255, 255]


def test_sixteen_bits_of_either_byte_order() -> None:
    values = np.array([[0, 257, 514, 65_535]], dtype=">u2")
    image = Image.frombytes("I;16B", (4, 1), values.tobytes())
    assert to_array(image, size=(4, 1), channels=1).tolist() == [[[0, 1, 2, 255]]]


@pytest.mark.parametrize("value", (-1, 65_536))
def test_grayscale_beyond_sixteen_bits_is_refused(value: int) -> None:
    with pytest.raises(
        DataError, match=f"expected 16-bit grayscale, 0 to 65535, came {value} to {value}; save it with 8"
    ):
        to_array(Image.new("I", (2, 2), value), size=(2, 2), channels=1)


def test_pictures_without_defined_brightness_are_refused() -> None:
    with pytest.raises(DataError, match="came a floating-point picture; save it with 8 or 16 bits"):
        to_array(Image.new("F", (2, 2)), size=(2, 2), channels=1)
    with pytest.raises(DataError, match="expected a picture that converts to RGBA, came mode La"):
        to_array(Image.new("La", (2, 2)), size=(2, 2), channels=3)
    with pytest.raises(DataError, match="expected a picture with pixels, came 0x2"):
        to_array(Image.new("L", (0, 2)), size=(2, 2), channels=3)


def rows(*values: list[int]) -> Image.Image:
    return Image.fromarray(np.array(values, dtype=np.uint8))


def test_crop_takes_the_centre_without_moving_pixels_by_halves() -> None:
    wide = rows([1, 2, 3, 4], [5, 6, 7, 8])
    assert to_array(wide, size=(2, 2), channels=1).tolist() == [[[2, 3], [6, 7]]]
    odd = rows([1, 2, 3, 4, 5], [5, 6, 7, 8, 9])
    assert to_array(odd, size=(2, 2), channels=1).tolist() == [[[2, 3], [6, 7]]]
    tall = rows([1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12])
    assert to_array(tall, size=(2, 2), channels=1).tolist() == [[[5, 6], [7, 8]]]


def test_crop_scales_the_short_side() -> None:
    image = noise(16, 8)
    expected = np.asarray(image.resize((8, 4), Image.Resampling.LANCZOS).crop((2, 0, 6, 4)))
    np.testing.assert_array_equal(to_array(image, size=(4, 4), channels=3).transpose(1, 2, 0), expected)


def test_pad_keeps_the_whole_picture_on_the_background() -> None:
    wide = rows([1, 2, 3, 4], [5, 6, 7, 8])
    padded = to_array(wide, size=(4, 5), channels=1, fit="pad", background=(9, 9, 9))
    nines = [9] * 4
    assert padded.tolist() == [[nines, [1, 2, 3, 4], [5, 6, 7, 8], nines, nines]]
    tall = to_array(Image.new("RGB", (1, 4), RED), size=(3, 4), channels=3, fit="pad", background=BLUE)
    assert tall[:, 0].T.tolist() == [list(BLUE), list(RED), list(BLUE)]
    grayscale = to_array(Image.new("L", (1, 4), 7), size=(3, 4), channels=1, fit="pad", background=RED)
    assert grayscale[0, 0].tolist() == [LUMA_RED, 7, LUMA_RED]


@pytest.mark.parametrize(("size", "rows", "columns"), [((10, 8), 10, 12), ((8, 10), 12, 10), ((10, 7), 8, 12)])
def test_a_padded_side_is_rounded_to_the_nearest(size: tuple[int, int], rows: int, columns: int) -> None:
    found = to_array(Image.new("L", size, 0), size=(12, 12), channels=1, fit="pad")[0]
    assert (found == 0).all(1).sum() == rows if columns == 12 else (found == 0).all(0).sum() == columns
    assert (found == 0).sum() == rows * columns


def test_pad_with_four_channels_is_transparent_around() -> None:
    array = to_array(Image.new("RGB", (1, 4), RED), size=(3, 4), channels=4, fit="pad", background=BLUE)
    assert array[:, 0].T.tolist() == [[*BLUE, 0], [*RED, 255], [*BLUE, 0]]


@pytest.mark.parametrize("fit", FITS)
def test_small_pictures_are_scaled_up_and_large_ones_down(fit: Fit) -> None:
    for size in ((1, 1), (3, 3), (400, 400)):
        array = to_array(Image.new("RGB", size, (10, 20, 30)), size=(16, 16), channels=3, fit=fit)
        assert (array == np.array([10, 20, 30], dtype=np.uint8)[:, None, None]).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", ((1, 5000), (5000, 1), (3, 2), (2, 3)))
def test_any_aspect_has_the_size_asked_for(fit: Fit, size: tuple[int, int]) -> None:
    assert to_array(Image.new("RGB", size), size=(9, 6), channels=3, fit=fit).shape == (3, 6, 9)


def test_stretch_gives_up_the_aspect() -> None:
    halves = np.zeros((2, 40), dtype=np.uint8)
    halves[:, 20:] = 255
    array = to_array(Image.fromarray(halves), size=(4, 4), channels=1, fit="stretch")[0]
    assert (array[:, 0] == 0).all() and (array[:, 3] == 255).all()


def test_transparent_color_does_not_bleed_when_scaled() -> None:
    image = Image.new("RGBA", (16, 16), (0, 255, 0, 0))
    image.paste((*RED, 255), (0, 0, 8, 16))
    array = to_array(image, size=(4, 4), channels=4)
    assert (array[1][array[3] > 0] == 0).all()
    assert (to_array(image, size=(4, 4), channels=3, background=(0, 0, 0))[1] == 0).all()


def test_grayscale_follows_from_mode_and_background() -> None:
    grayscale = [Image.new(mode, (2, 2)) for mode in ("1", "L", "I", "I;16")]
    assert all(is_grayscale(image, RED) for image in grayscale)
    assert not any(is_grayscale(Image.new(mode, (2, 2))) for mode in ("RGB", "P", "RGBA", "CMYK"))
    assert is_grayscale(Image.new("LA", (2, 2))) and not is_grayscale(Image.new("LA", (2, 2)), RED)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"size": (0, 4)}, r"size: expected \(width, height\), each 1 to 65535, came \(0, 4\)"),
        ({"size": 8}, "came 8"),
        ({"size": (8.0, 8)}, r"came \(8.0, 8\)"),
        ({"size": (True, 8)}, r"came \(True, 8\)"),
        ({"channels": 2}, r"channels: expected 1 \(grayscale\), 3 \(RGB\) or 4 \(RGBA\), came 2"),
        ({"channels": True}, "came True"),
        ({"fit": "cover"}, "fit: expected one of crop, pad, stretch, came 'cover'"),
        ({"background": (0, 0)}, r"background: expected \(red, green, blue\), each 0 to 255, came \(0, 0\)"),
        ({"background": (0, 0, 256)}, "came"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, object], text: str) -> None:
    arguments: dict[str, object] = {"size": (4, 4), "channels": 3, **wrong}
    with pytest.raises(InputError, match=text):
        to_array(Image.new("L", (4, 4)), **arguments)  # type: ignore[arg-type]


def test_sixteen_bit_color_loses_only_its_low_byte() -> None:
    # Pillow writes no 16-bit colour, so the file is made by hand: one row of one pixel.
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\x00" + struct.pack(">HHH", 0, 0x80FF, 0xFFFF)))
    data = b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
    assert Image.open(io.BytesIO(data)).mode == "RGB"
    assert pixel(decode(data, "a")) == [0, 128, 255]
