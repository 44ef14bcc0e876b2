"""A folder of which one file in twenty is broken: all others are read, in order, and the broken ones are named."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scale import counts

from sfumato.data import open_source, prepare
from sfumato.media.image.transform import to_array

PNG = b"\x89PNG\r\n\x1a\n"


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def encoded(seed: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    noise(seed).save(stream, kind)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb() -> bytes:
    """A picture of 177 megapixels in 300 bytes or so."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_300, 13_300, 8, 0, 0, 0, 0))
    return PNG + header + chunk(b"IDAT", zlib.compress(b"\0" * 99_999)) + chunk(b"IEND", b"")


BROKEN = [b"", encoded(0)[:60], b"I am text", PNG + b"\xff" * 40, encoded(1, "PPM"), encoded(1, "JPEG")[:200], bomb()]
"""Empty, cut, of a wrong ending, of damaged bytes, of a kind that is not read, cut again, and a bomb."""


@counts("n", 1_000, 20_000)
def test_one_broken_file_in_twenty_is_left_out_and_named(n: int, tmp_path: Path) -> None:
    whole = [encoded(seed) for seed in range(7)]
    names = [f"{i:05}.png" for i in range(n)]
    broken = [name for i, name in enumerate(names) if i % 20 == 7]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(
            BROKEN[i // 20 % len(BROKEN)] if name in broken[i // 20 : i // 20 + 1] else whole[i % 7]
        )
    pictures = prepare(open_source(tmp_path), size=(4, 4))
    assert [one.name for one in pictures.skipped] == broken and len(broken) == n // 20
    good = sorted(set(names) - set(broken))
    assert list(pictures.names) == good
    shown = [to_array(noise(seed), size=(4, 4), channels=3) for seed in range(7)]
    np.testing.assert_array_equal(pictures.stored, np.stack([shown[int(name[:5]) % 7] for name in good]))
