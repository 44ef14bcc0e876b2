"""Sounds as a data set: in folders, archives, arrays and tables."""

import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_pictures import encode, noise

from sfumato.data import Dataset, open_source, prepare
from sfumato.errors import DataError, InputError, NotFoundError, SfumatoError, ShapeError
from sfumato.media import Audio

pytest.importorskip("soundfile")
from small_sounds import encode_sound, tone

Fill = Callable[..., Path]
MEDIUM = Audio(8000)


def read(where: Path, **options: Any) -> Dataset:
    return prepare(open_source(where, MEDIUM), **options)


def wavs(**names: int) -> dict[str, object]:
    """Files of 400 samples by their names, each of another seed."""
    return {f"{name}.wav": encode_sound(tone(seed=seed)) for name, seed in names.items()}


def test_a_folder_of_sounds_is_a_data_set(folder: Fill) -> None:
    files = {
        "kick/a.wav": encode_sound(tone(seed=1)),
        "kick/b.flac": encode_sound(tone(seed=2), format="FLAC"),
        "kick/b.txt": "a dull kick",
        "snare/c.ogg": encode_sound(tone(seed=3), format="OGG"),
        "snare/d.wav": b"RIFF" + bytes(40),
        "tom/e.flac": b"junk",
    }
    data = read(folder(files))
    assert data.stored.shape == (3, 1, 400) and data.stored.dtype == np.int16
    assert (data.medium, data.size) == (MEDIUM, (400,))
    np.testing.assert_array_equal(data.stored[:2, 0], [tone(seed=1), tone(seed=2)])
    assert data.names == ("kick/a.wav", "kick/b.flac", "snare/c.ogg") and data.captions == ((), ("a dull kick",), ())
    assert data.labels is not None and data.labels.tolist() == [0, 0, 1] and data.classes == ("kick", "snare", "tom")
    assert [one.name for one in data.skipped] == ["snare/d.wav", "tom/e.flac"]
    assert data.skipped[1].reason.startswith("expected a sound (WAV, FLAC, OGG), came something else")
    assert data.notes == (
        "4 of 5 sounds have no caption: kick/a.wav, snare/c.ogg, snare/d.wav, ...",
        "2 of 5 sounds were left out as broken: snare/d.wav, tom/e.flac",
        "no sound is left of tom",
    )


def test_metadata_captions_sounds(folder: Fill) -> None:
    rows = [{"file_name": "a.wav", "text": "one"}, {"file_name": "B.WAV", "text": ["two", "zwei"]}, {"file_name": "x"}]
    source = open_source(folder({**wavs(a=1, b=2), "metadata.jsonl": rows}), MEDIUM)
    assert [source.captions(i) for i in range(2)] == [("one",), ("two", "zwei")]
    assert source.notes == ("1 sound named in metadata.jsonl is absent: x",)
    mapped = open_source(folder({**wavs(a=1), "metadata.json": '{"a.wav": "one", "a.png": "no"}'}, "mapped"), MEDIUM)
    assert mapped.captions(0) == ("one",) and mapped.notes == ()


def test_files_of_other_media_are_passed_over(folder: Fill) -> None:
    root = folder({**wavs(a=1), "b.png": encode(noise(4, 4)), "c.pdf": "x"})
    sounds, pictures = open_source(root, MEDIUM), open_source(root)
    assert [sounds.name(0)] == ["a.wav"] and sounds.notes == ("2 files of other kinds passed over: b.png, c.pdf",)
    assert [pictures.name(0)] == ["b.png"] and pictures.notes == ("2 files of other kinds passed over: a.wav, c.pdf",)
    with pytest.raises(
        DataError, match=r"expected sounds \(\.flac \.ogg \.wav\), came none \(1 file of .*\); for pictures choose"
    ):
        open_source(folder({"a.png": None}, "other"), MEDIUM)


def test_without_a_size_all_sounds_must_share_one(folder: Fill) -> None:
    root = folder({"a.wav": encode_sound(tone(400)), "b.wav": encode_sound(tone(12_000))})
    came = r"since the sounds differ \(a\.wav is 0\.05 s, b\.wav is 1\.5 s\), came None; give size$"
    with pytest.raises(InputError, match=came):
        read(root)


def test_a_size_cuts_the_end_and_adds_silence(folder: Fill) -> None:
    stored = read(folder({"a.wav": encode_sound(tone(400)), "b.wav": encode_sound(tone(12_000))}), size=(1000,)).stored
    np.testing.assert_array_equal(stored[0, 0], np.pad(tone(400), (0, 600)))
    np.testing.assert_array_equal(stored[1, 0], tone(12_000)[:1000])


def test_sounds_of_other_rates_and_channels_are_brought_to_the_mediums(folder: Fill) -> None:
    both = np.stack([tone(seed=1) // 2, tone(seed=2) // 2], axis=1)
    flat = np.full(1600, 8192, dtype=np.int16)
    data = read(folder({"a.wav": encode_sound(both), "b.wav": encode_sound(flat, rate=32_000)}))
    assert data.stored.shape == (2, 1, 400)
    assert np.abs(data.stored[0, 0] - both.astype(np.int64).sum(1) / 2).max() <= 1
    assert np.abs(data.stored[1, 0, 100:300] - 8192).max() <= 2
    other = prepare(open_source(folder({"a.wav": encode_sound(both)}, "stereo"), Audio(8000, 2))).stored
    np.testing.assert_array_equal(other[0], both.T)


def test_archives_arrays_and_tables_hold_the_same_sounds(folder: Fill, tmp_path: Path) -> None:
    root = folder(wavs(a=1, b=2, c=3))
    samples = np.stack([tone(seed=seed) for seed in (1, 2, 3)])
    cells = [{"bytes": encode_sound(one), "path": "x.wav"} for one in samples]
    pq.write_table(pa.table({"audio": cells, "text": ["one", "two", None]}), tmp_path / "x.parquet", row_group_size=2)
    np.savez(tmp_path / "x.npz", sounds=samples, rate=8000, labels=[0, 1, 1], captions=["one", "two", ""])
    np.savez(tmp_path / "y.npz", sounds=samples / np.float32(32768), rate=8000)
    places = [root, Path(shutil.make_archive(str(tmp_path / "z"), "zip", root)), *tmp_path.glob("*.npz")]
    for where in (*places, tmp_path / "x.parquet"):
        for store in ("memory", "map", "source"):
            data = read(where, store=store, cache=tmp_path / "cache")
            np.testing.assert_array_equal(data.stored[np.array([2, 0, 1]), 0], samples[[2, 0, 1]])
    assert read(tmp_path / "x.npz").captions == read(tmp_path / "x.parquet").captions == (("one",), ("two",), ())
    assert prepare(open_source(tmp_path / "x.npz", Audio(16_000))).size == (800,)


def test_the_rate_of_arrays_belongs_to_their_fingerprint(tmp_path: Path) -> None:
    samples = np.stack([tone(seed=seed) for seed in (1, 2)])
    prints = set()
    for rate in (8000, 8001):
        np.savez(tmp_path / "x.npz", sounds=samples, rate=rate)
        prints.add(open_source(tmp_path / "x.npz", MEDIUM).fingerprint)
    assert len(prints) == 2


SOUNDS = np.zeros((2, 10), np.int16)


@pytest.mark.parametrize(
    ("arrays", "error", "came"),
    [
        ({"images": np.zeros((2, 4, 4), np.uint8)}, DataError, "expected an array 'sounds', came images; rename it"),
        ({"sounds": SOUNDS}, DataError, "expected 'rate', the samples a second, .* came none; save it beside"),
        ({"sounds": SOUNDS, "rate": 0}, DataError, "expected 'rate', .* up to 384,000, came 0; save"),
        ({"sounds": SOUNDS, "rate": [8000, 8000]}, DataError, r"expected 'rate', .* came \[8000 8000\]; save"),
        ({"sounds": SOUNDS[0], "rate": 8000}, ShapeError, r"expected sounds of shape \(n, samples\), came \(10,\)"),
        ({"sounds": SOUNDS[:, :0], "rate": 8000}, DataError, r"of 1 to 2\*\*26 samples, came the shape \(2, 0\)"),
        ({"sounds": SOUNDS.astype(int), "rate": 8000}, DataError, "of int16 or floats, came int64; convert them"),
        (
            {"sounds": SOUNDS - 1.5, "rate": 8000},
            DataError,
            r"sounds in \[-1, 1\], came numbers up to 1\.5; scale them",
        ),
        ({"sounds": SOUNDS + np.nan, "rate": 8000}, DataError, r"\[-1, 1\], came numbers up to nan; scale them"),
        ({"sounds": np.array([[{}]]), "rate": 8000}, DataError, "came Python objects, which could run code"),
        ({"sounds": SOUNDS, "rate": 8000, "captions": ["x"]}, ShapeError, "one row a sound"),
        ({"sounds": SOUNDS, "rate": 8000, "labels": [1]}, ShapeError, r"labels of shape \(2,\), one a sound, came"),
    ],
)
def test_arrays_that_are_no_sounds_are_refused(arrays: Any, error: Any, came: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(error, match=came):
        open_source(tmp_path / "x.npz", MEDIUM)


def test_other_data_than_sounds_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 1, 2, 2) + bytes(4))
    with pytest.raises(InputError, match="expected sounds, came pictures; name other data$"):
        open_source(tmp_path, MEDIUM)
    with pytest.raises(NotFoundError, match=r"expected a folder of sounds, a \.zip of one"):
        open_source(tmp_path / "nowhere", MEDIUM)


@pytest.mark.parametrize("options", [{"channels": 3}, {"fit": "pad"}, {"size": (4, 4)}, {"size": (0,)}])
def test_arguments_of_pictures_alone_are_refused(options: Any, folder: Fill) -> None:
    with pytest.raises(SfumatoError, match=r"channels: expected 1, |fit: expected 'crop', |size must be \(samples,\)"):
        read(folder(wavs(a=1)), **options)


# Distrust -------------------------------------------------------------------------------------------------------------


def lying_wav(seconds: float) -> bytes:
    """A WAV file whose header names so many seconds at 8,000 Hz, and that holds 100 samples."""
    data = bytearray(encode_sound(tone(100)))
    size = min(int(seconds * 16_000), 2**32 - 64)
    data[4:8], data[40:44] = struct.pack("<I", size + 36), struct.pack("<I", size)
    return bytes(data)


def lying_flac() -> bytes:
    """A FLAC file whose header names the most samples that it can: 2³⁶ − 1."""
    data = bytearray(encode_sound(tone(100), format="FLAC"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    return bytes(data)


@pytest.mark.parametrize("bomb", [lying_wav(60), lying_wav(1e9), lying_flac()], ids=["minute", "terabytes", "flac"])
def test_a_header_that_promises_too_much_takes_no_memory(bomb: bytes, folder: Fill) -> None:
    root = folder({**wavs(a=1), "b.wav": bomb})
    read(root, size=(400,))  # the library is imported
    tracemalloc.start()
    data = read(root, size=(400,))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20_000_000 and data.stored.shape[1:] == (1, 400)
    assert data.names[0] == "a.wav" and [one.name for one in data.skipped] in ([], ["b.wav"])


def test_damaged_sounds_are_sounds_or_typed_errors(folder: Fill) -> None:
    dice = np.random.default_rng(0)
    files: dict[str, object] = {}
    for i in range(60):
        data = bytearray(encode_sound(tone(400), format=("WAV", "FLAC", "OGG")[i % 3]))
        for place in dice.integers(0, len(data), 3):
            data[place] = dice.integers(256)
        files[f"{i:02}.wav"] = bytes(data)
    data = read(folder(files | wavs(x=1)), size=(400,))
    assert len(data) + len(data.skipped) == 61 and all("\n" not in one.reason for one in data.skipped)


def test_names_that_lead_out_of_an_archive_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../a.wav", encode_sound(tone()))
    with pytest.raises(DataError, match=r"expected names below the archive's root, came '\.\./a\.wav'"):
        open_source(tmp_path / "x.zip", MEDIUM)
