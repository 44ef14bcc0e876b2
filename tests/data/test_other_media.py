"""A medium needs nothing in `data/`: its endings, its columns and its own decoder are enough."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sfumato.data import open_source, prepare
from sfumato.errors import InputError
from sfumato.media import Embedding, Text
from sfumato.media.text import fit_text_tokenizer

Fill = Callable[..., Path]


def vector(*numbers: float) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(numbers, dtype=np.float32))
    return stream.getvalue()


def test_embeddings(folder: Fill, tmp_path: Path) -> None:
    root = folder({"a/1.npy": vector(1, 2), "a/2.npy": vector(1, 2, 3), "b/3.npy": vector(3, 4), "b/3.txt": "three"})
    rows = {"vector": [vector(1, 2), vector(1, 2, 3), vector(3, 4)], "text": [None, None, "three"]}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    for where in (root, tmp_path / "x.parquet"):
        for store in ("memory", "map", "source"):
            data = prepare(open_source(where, Embedding(2)), store=store, cache=tmp_path / "cache")
            assert data.stored.dtype == np.float32 and data.stored[:].tolist() == [[1, 2], [3, 4]] and data.size == (2,)
            assert data.captions == ((), ("three",)) and len(data.skipped) == 1
            assert data.notes[-1].startswith("1 of 3 embeddings was left out as broken: ")


def test_texts_are_data_and_no_captions_of_their_own(folder: Fill) -> None:
    medium = Text(fit_text_tokenizer(["a cat", "a dog"], 300))
    rows = [{"file_name": "cats/1.txt", "text": "on cats"}]
    files = {"cats/1.txt": "a cat", "dogs/2.txt": "a dog and a cat", "metadata.jsonl": rows}
    data = prepare(open_source(folder(files), medium), size=(8,))
    assert data.stored.shape == (2, 8) and data.stored.dtype == np.int64
    assert data.stored[0].tolist() == list(medium.decode(b"a cat", "x", (8,)))
    assert data.captions == (("on cats",), ()) and data.notes == ("1 of 2 texts has no caption: dogs/2.txt",)


def test_arrays_hold_only_pictures_and_sounds(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", embeddings=np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"expected embeddings, came a \.npz, which holds pictures or sounds"):
        open_source(tmp_path / "x.npz", Embedding(2))
