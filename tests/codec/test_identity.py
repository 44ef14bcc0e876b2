"""Data of every medium as samples."""

import json

import pytest
import torch

from sfumato.codec import Codec, Identity
from sfumato.media import Audio, Embedding, Image, Layout, Medium, Text
from sfumato.media.text import fit_text_tokenizer
from sfumato.parts import CODECS, MEDIA

TEXT = Text(fit_text_tokenizer((), 258))
MEDIA_AND_SHAPES: dict[str, tuple[Medium, tuple[int, ...], tuple[int, ...]]] = {
    "image": (Image(1), (6, 4), (1, 4, 6)),
    "audio": (Audio(8000, 2), (7,), (2, 7)),
    "text": (TEXT, (5,), (5,)),
    "embedding": (Embedding(3), (3,), (3,)),
    "layout": (Layout(("flat", "round"), 4), (5,), (9, 5)),
}


def test_every_medium_is_tested_here() -> None:
    assert MEDIA_AND_SHAPES.keys() == MEDIA.kinds.keys()


@pytest.mark.parametrize("kind", MEDIA_AND_SHAPES)
def test_a_codec_holds_its_medium(kind: str) -> None:
    medium, size, shape = MEDIA_AND_SHAPES[kind]
    codec = Identity(medium)
    assert isinstance(codec, Codec) and isinstance(medium, Medium)
    assert codec.shape(size) == shape == medium.shape(medium.check_size(list(size)))
    assert (codec.channels, codec.limit) == (medium.channels, medium.limit)
    data = json.loads(json.dumps(CODECS.dump(codec)))
    assert data["kind"] == "identity" and data["medium"]["kind"] == kind and CODECS.load(data) == codec


@pytest.mark.parametrize("kind", MEDIA_AND_SHAPES)
def test_data_come_back_within_the_limit_of_their_medium(kind: str) -> None:
    medium, _, shape = MEDIA_AND_SHAPES[kind]
    codec, x = Identity(medium), 3 * torch.randn(2, *shape, dtype=torch.float64)
    if kind == "text":
        x = torch.randint(0, TEXT.vocabulary, (2, *shape))
        assert torch.equal(codec.decode(codec.encode(x)), x)
        return
    found = codec.decode(codec.encode(x))
    limit = torch.inf if medium.limit is None else medium.limit
    assert found.dtype == torch.float32 and torch.equal(found, x.float().clamp(-limit, limit))


@pytest.mark.parametrize("kind", MEDIA_AND_SHAPES)
def test_a_medium_says_what_its_files_and_columns_are(kind: str) -> None:
    medium, size, _ = MEDIA_AND_SHAPES[kind]
    assert medium.plural.startswith(medium.noun) and medium.columns and medium.formats
    assert all(ending.startswith(".") and ending == ending.lower() for ending in medium.endings)
    assert {f".{format}" for format in medium.formats} <= set(medium.endings), "what is written can be read"
    assert medium.size_text(size)
