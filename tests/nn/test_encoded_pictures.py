"""Pictures kept as their files: they come back to the bit, wherever their bytes lie."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import FormatError, InputError, ShapeError
from sfumato.nn.image import encoded_pictures
from sfumato.nn.image.encoded_pictures import EncodedPictures

SIDE = 8


def drawn(count: int) -> np.ndarray:
    """Pictures of chance, uint8 [count, side, side, 4]; where all is clear WebP keeps no colour, so nothing is."""
    return np.random.default_rng(0).integers(1, 256, (count, SIDE, SIDE, 4), np.uint8)


def file(pixels: np.ndarray, kind: str = "WEBP") -> bytes:
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, kind, lossless=True)
    return packed.getvalue()


def kept(files: Sequence[bytes]) -> EncodedPictures:
    return EncodedPictures(len(files), sum(map(len, files)), SIDE).fit(files)


@pytest.mark.parametrize("page", [7, 100, 2**23])
def test_pictures_come_back_to_the_bit_though_a_page_ends_within_them(page: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoded_pictures, "PAGE", page)
    own = drawn(5)
    files = [file(one, kind) for one, kind in zip(own, ["WEBP", "PNG"] * 3, strict=False)]
    memory = kept(files)
    asked = torch.tensor([4, 0, 0, 3, 2, 1])
    assert torch.equal(memory(asked), torch.from_numpy(own[asked]).permute(0, 3, 1, 2).float() / 255)
    assert [memory.file(number) for number in range(5)] == files
    assert sum(memory.get_buffer(name).numel() for name in memory.pages) == sum(map(len, files))


def test_they_stay_the_same_in_another_type_and_when_opened_again():
    own = drawn(3)
    memory = kept([file(one) for one in own])
    other = EncodedPictures(3, memory.file_bytes, SIDE)
    other.load_state_dict(memory.state_dict())
    asked = torch.tensor([2, 1])
    assert torch.equal(other.to(torch.bfloat16)(asked), memory(asked))


def test_a_picture_without_transparency_is_opaque():
    opaque = drawn(1)[..., :3]
    memory = kept([file(one, "PNG") for one in opaque])
    assert torch.equal(memory(torch.tensor([0]))[0, 3], torch.ones(SIDE, SIDE))


def test_none_are_asked_for():
    assert kept([file(one) for one in drawn(1)])(torch.zeros(0, dtype=torch.long)).shape == (0, 4, SIDE, SIDE)


def test_files_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="2 pictures of 10 bytes in all are kept here, and 1 of 3 came"):
        EncodedPictures(2, 10, SIDE).fit([b"abc"])
    with pytest.raises(InputError, match="file_bytes must be from 0 to"):
        EncodedPictures(1, -1)


def test_bytes_that_are_no_such_picture_are_an_error_with_its_number():
    memory = kept([file(drawn(1)[0]), b"nothing", file(np.zeros((4, 4, 4), np.uint8), "PNG")])
    for number, text in (
        (1, "picture 1 of the weights is no whole file"),
        (2, "picture 2 of the weights is of 4×4, not"),
    ):
        with pytest.raises(FormatError, match=text):
            memory(torch.tensor([0, number]))
    whole = file(drawn(1)[0])
    for broken in (b"", whole[:30], whole[:-9]):
        with pytest.raises(FormatError, match="picture 0 of the weights is no whole file of WebP or PNG"):
            kept([broken])(torch.tensor([0]))


def test_a_picture_far_too_large_is_refused_before_it_is_decoded():
    header = file(np.zeros((1, 1, 4), np.uint8), "PNG")
    large = header[:16] + (20_000).to_bytes(4, "big") * 2 + header[24:]
    with pytest.raises(FormatError, match="picture 0 of the weights"):
        kept([large])(torch.tensor([0]))
