"""Files become whole pictures or a DataError that names them."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data.small_pictures import encode, noise
from sfumato.errors import DataError
from sfumato.media.image import decode

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
LOSSLESS = ("PNG", "BMP", "TIFF")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_decoded(format: str) -> None:
    image = noise(9, 7)
    found = decode(encode(image, format), "a")
    assert found.size == (9, 7)
    if format in LOSSLESS:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(image))


def test_the_format_is_recognised_by_the_bytes_not_the_name() -> None:
    assert decode(encode(noise(9, 7), "JPEG"), "a.png").size == (9, 7)


@pytest.mark.parametrize("format", ("GIF", "WEBP", "TIFF", "PNG"))
def test_of_several_frames_the_first_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    found = decode(encode(frames[0], format, save_all=True, append_images=frames[1:], **options), "a")
    assert found.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ("PNG", "TIFF"))
def test_exif_orientation_is_applied(orientation: int, format: str) -> None:
    upright = np.arange(12, dtype=np.uint8).reshape(3, 4)
    # How a camera stores the picture, so that the tag undoes it (the EXIF standard's table of rows and columns).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif)
    np.testing.assert_array_equal(np.asarray(decode(data, "a")), upright)


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = encode(noise(9, 7), "JPEG", exif=b"Exif\x00\x00XX\x00\x00garbage")
    assert decode(data, "a").size == (9, 7)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", (0.02, 0.5, 0.9))
def test_a_cut_file_is_refused(format: str, share: float) -> None:
    data = encode(noise(40, 30), format)
    with pytest.raises(DataError, match=r"^cats/a\.png: expected a .*replace it or take it out$"):
        decode(data[: int(len(data) * share)], "cats/a.png")


def test_messages_say_what_came_on_one_line() -> None:
    with pytest.raises(DataError, match=r"^a\.png: expected a picture, came an empty file; replace it or take it out$"):
        decode(b"", "a.png")
    with pytest.raises(DataError, match=r"^a\.png: expected a picture \(BMP, GIF, JPEG, PNG, TIFF, WEBP\), came some"):
        decode(b"hello, I am text", "a.png")
    with pytest.raises(DataError) as caught:
        decode(b"", "a\nb\udcff.png")
    assert str(caught.value).startswith(r"'a\nb\udcff.png': ")


def test_a_pointer_of_git_lfs_is_named() -> None:
    with pytest.raises(DataError, match="came a pointer of Git LFS, whose files `git lfs pull` fetches"):
        decode(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "a.png")


def test_what_is_quoted_is_short() -> None:
    with pytest.raises(DataError) as caught:
        decode(b"", "x" * 5000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("format", ("PPM", "TGA", "ICO", "PCX"))
def test_other_formats_are_not_even_tried(format: str) -> None:
    with pytest.raises(DataError, match="came something else"):
        decode(encode(noise(16, 16), format), "a.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height", "text"),
    [
        (60_000, 60_000, "DecompressionBombError"),
        (13_300, 13_300, r"expected at most 67,108,864 pixels and 65,535 a side, came 13300x13300"),
        (9_000, 9_000, "came 9000x9000"),
        (1, 70_000, "came 1x70000"),
    ],
)
def test_a_bomb_is_refused_by_its_header(width: int, height: int, text: str) -> None:
    with pytest.raises(DataError, match=text):
        decode(png_header(width, height), "bomb.png")


def test_the_limit_can_be_set() -> None:
    data = encode(noise(10, 10))
    assert decode(data, "a", limit=100).size == (10, 10)
    with pytest.raises(DataError, match="expected at most 99 pixels"):
        decode(data, "a", limit=99)


@pytest.mark.parametrize("trials", [40, pytest.param(3000, marks=pytest.mark.release)])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
def test_flipped_bits_give_a_picture_or_a_typed_error(format: str, trials: int) -> None:
    random = np.random.default_rng(0)
    whole = np.frombuffer(encode(noise(24, 16), format), dtype=np.uint8)
    for _ in range(trials):
        data = whole.copy()
        places = random.integers(0, len(data) if random.random() < 0.5 else 64, size=random.integers(1, 6))
        data[places] ^= (1 << random.integers(0, 8, size=len(places))).astype(np.uint8)
        try:
            decode(data.tobytes(), "a")
        except DataError as error:
            assert str(error).startswith("a: ") and "\n" not in str(error)
