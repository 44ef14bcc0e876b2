"""Pictures with others that a network is to be conditioned on."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from small_pictures import encode, noise

from sfumato.data import Dataset, open_source, prepare
from sfumato.data.on_demand import OnDemand
from sfumato.errors import InputError
from sfumato.media.image.resize import resized

Fill = Callable[..., Path]
N = 20


def canvas(i: int, side: int = 4) -> bytes:
    return encode(noise(side, side, seed=100 + i))


def parquet(path: Path, **columns: Any) -> Path:
    pictures = [encode(noise(8, 8, seed=i)) for i in range(N)]
    canvases = [canvas(i) for i in range(N)]
    pq.write_table(pa.table({"conditioning_image": canvases, "image": pictures} | columns), path, row_group_size=3)
    return path


def filled(folder: Fill) -> Path:
    files = {f"{i:02}.png": encode(noise(8, 8, seed=i)) for i in range(N)}
    return folder(files | {f"{i:02}.conditioning.png": canvas(i) for i in range(N)})


def expected(i: int) -> np.ndarray:
    """The canvas, resized as the link `Upsample` resizes."""
    pixels = torch.from_numpy(np.moveaxis(np.asarray(noise(4, 4, seed=100 + i)), 2, 0).copy()).float()
    return resized(pixels[None], (8, 8))[0].numpy()


def test_a_column_or_a_file_beside_holds_what_a_picture_is_conditioned_on(folder: Fill, tmp_path: Path) -> None:
    found = [parquet(tmp_path / "x.parquet"), filled(folder)]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for path in sorted(found[1].iterdir()):
            file.write(path, path.name)
    for where in (*found, tmp_path / "x.zip"):
        data = prepare(open_source(where), conditioning=True)
        assert len(data) == N and data.conditioning is not None and data.conditioning.shape == (N, 3, 8, 8)
        for i in (0, 7, 19):
            np.testing.assert_array_equal(data.stored[i], np.moveaxis(np.asarray(noise(8, 8, seed=i)), 2, 0))
            assert np.abs(data.conditioning[i] - expected(i)).max() <= 1.01, "rounded to bytes, once an axis"


def test_wherever_they_lie_they_are_the_same(tmp_path: Path) -> None:
    source = open_source(parquet(tmp_path / "x.parquet"))
    held = prepare(source, conditioning=True, store="memory")
    mapped = prepare(source, conditioning=True, store="map", cache=tmp_path / "cache.npy")
    asked = prepare(source, conditioning=True, store="source")
    assert isinstance(mapped.conditioning, np.memmap) and isinstance(asked.conditioning, OnDemand)
    assert (tmp_path / "cache-conditioning.npy").exists()
    order = np.random.default_rng(0).permutation(N)
    assert held.conditioning is not None
    for data in (mapped, asked):
        np.testing.assert_array_equal(data.stored[order], held.stored[order])
        np.testing.assert_array_equal(data.conditioning[order], held.conditioning[order])  # type: ignore[index]
        assert (data.fingerprint, data.contents) == (held.fingerprint, held.contents)


def test_both_are_cropped_alike_and_of_as_many_channels(tmp_path: Path) -> None:
    grey = [encode(noise(16, 8, 1, seed=i)) for i in range(2)]
    colour = [encode(noise(8, 4, 3, seed=i)) for i in range(2)]
    for images, canvases, channels in ((grey, grey, 1), (grey, colour, 3), (colour, grey, 3)):
        pq.write_table(pa.table({"image": images, "conditioning_image": canvases}), tmp_path / "x.parquet")
        data = prepare(open_source(tmp_path / "x.parquet"), size=(8, 8), conditioning=True)
        assert data.conditioning is not None
        assert data.stored.shape == data.conditioning.shape == (2, channels, 8, 8) and data.medium.channels == channels
    ramp = np.repeat(np.arange(16, dtype=np.uint8)[None] * 16, 8, 0)
    pq.write_table(
        pa.table({"image": [encode(Image.fromarray(ramp))], "conditioning_image": [encode(Image.fromarray(ramp))]}),
        tmp_path / "x.parquet",
    )
    data = prepare(open_source(tmp_path / "x.parquet"), size=(8, 8), conditioning=True)
    assert data.conditioning is not None
    np.testing.assert_array_equal(data.stored[0], data.conditioning[0])
    np.testing.assert_array_equal(data.stored[0, 0], ramp[:, 4:12])


def test_one_that_is_broken_or_missing_leaves_its_picture_out_by_name(folder: Fill) -> None:
    files = {f"{i}.png": encode(noise(8, 8, seed=i)) for i in range(3)}
    files |= {"0.conditioning.png": b"junk", "2.conditioning.webp": encode(noise(4, 4), "WEBP", lossless=True)}
    data = prepare(open_source(folder(files)), conditioning=True)
    assert data.names == ("2.png",)
    broken, missing = data.skipped
    assert (broken.name, missing.name) == ("0.png", "1.png")
    assert broken.reason.startswith("0.conditioning.png: expected a picture (BMP")
    assert missing.reason == "expected a conditioning image beside it, came none; add 1.conditioning.png"


def test_a_null_in_the_column_leaves_its_picture_out(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", conditioning_image=[None, *(canvas(i) for i in range(1, N))])
    data = prepare(open_source(path), conditioning=True)
    assert len(data) == N - 1 and data.skipped[0].name == "x.parquet[0]"
    assert data.skipped[0].reason.startswith(
        "conditioning_image of x.parquet[0]: expected a picture's bytes, came null"
    )


def test_they_are_read_only_where_they_are_asked_for(folder: Fill, tmp_path: Path) -> None:
    source = open_source(parquet(tmp_path / "x.parquet"))
    plain, asked = prepare(source), prepare(source, conditioning=True)
    assert plain.conditioning is None and "condition.image=true" in plain.notes[0] and not asked.notes
    assert plain.fingerprint != asked.fingerprint and plain.contents != asked.contents
    bare = folder({"a.png": encode(noise(8, 8)), "b.conditioning.png": encode(noise(8, 8))})
    data = prepare(open_source(bare))
    assert data.names == ("a.png", "b.conditioning.png") and not data.notes, (
        "the name alone makes no conditioning image"
    )
    with pytest.raises(InputError, match=r"expected conditioning images, came none: put cat\.conditioning\.png beside"):
        prepare(open_source(bare), conditioning=True)


def test_another_conditioning_image_is_other_data(tmp_path: Path) -> None:
    def marks(data: Dataset) -> tuple[str, str]:
        return data.fingerprint, data.contents

    one = prepare(open_source(parquet(tmp_path / "x.parquet")), conditioning=True)
    changed = [canvas(1), *(canvas(i) for i in range(1, N))]
    other = prepare(open_source(parquet(tmp_path / "x.parquet", conditioning_image=changed)), conditioning=True)
    assert not {*marks(one)} & {*marks(other)}
    few = one.few(3)
    assert few.conditioning is not None and few.conditioning.shape == (3, 3, 8, 8)
    assert replace(one, conditioning=None).fingerprint == one.fingerprint
