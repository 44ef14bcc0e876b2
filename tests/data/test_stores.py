"""Where a data set lies, in memory, in a file or in its source, changes nothing of it."""

import multiprocessing
import operator
import os
import pickle
import shutil
import threading
import tracemalloc
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_pictures import encode, noise

from sfumato.data import Dataset, open_source, prepare
from sfumato.data.decoder import Decoded
from sfumato.data.on_demand import OnDemand
from sfumato.data.process import OfProcess, Recent
from sfumato.data.source import DataSource
from sfumato.data.table import TableSource, sha256_of
from sfumato.errors import DataError
from sfumato.media import Image

N = 24
WHOLE = [i for i in range(N) if i not in (3, 17)]


def picture(i: int, side: int = 8) -> bytes:
    return b"junk" if i in (3, 17) else encode(noise(side, side, 1 if i == 5 else 3, seed=i))


def folder(root: Path) -> Path:
    for i in range(N):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[i % 2] / f"{i:02}.png").write_bytes(picture(i))
    return root


def archive(root: Path) -> Path:
    return Path(shutil.make_archive(str(root / "x"), "zip", folder(root / "pictures")))


def archives(root: Path) -> Path:
    """Three .zip files of the same folders."""
    (root / "zips").mkdir(parents=True)
    for z in range(3):
        with zipfile.ZipFile(root / "zips" / f"{z}.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for i in range(z, N, 3):
                file.writestr(f"{'ab'[i % 2]}/{i:02}.png", picture(i))
    return root / "zips"


def shards(root: Path, files: int = 4) -> Path:
    (root / "shards").mkdir(parents=True)
    for f, part in enumerate(np.array_split(np.arange(N), files)):
        rows = {"image": [picture(i) for i in part], "text": [f"picture {i}" for i in part]}
        pq.write_table(pa.table(rows), root / "shards" / f"{f:03}.parquet", row_group_size=2)
    return root / "shards"


def arrays(root: Path) -> Path:
    np.savez(root / "x.npz", images=np.stack([np.asarray(noise(8, 8, seed=i)) for i in range(N)]))
    return root / "x.npz"


KINDS = {"folder": folder, "zip": archive, "zips": archives, "parquet": shards, "npz": arrays}


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> DataSource:
    return open_source(KINDS[request.param](tmp_path))


def on_demand(source: DataSource, **options: Any) -> Dataset:
    data = prepare(source, store="source", **options)
    assert isinstance(data.stored, OnDemand)
    return data


def test_all_stores_hold_the_same_data_in_the_same_order(source: DataSource, tmp_path: Path) -> None:
    held = prepare(source, store="memory")
    mapped = prepare(source, store="map", cache=tmp_path / "cache.npy")
    asked = on_demand(source)
    assert isinstance(held.stored, np.ndarray) and isinstance(mapped.stored, np.memmap)
    order = np.random.default_rng(0).permutation(len(held)).repeat(2)
    for data in (mapped, asked):
        assert (data.stored.shape, data.stored.dtype, len(data.stored)) == (held.stored.shape, np.uint8, len(held))
        np.testing.assert_array_equal(data.stored[order], held.stored[order])
        assert (data.names, data.captions, data.classes) == (held.names, held.captions, held.classes)
        assert (data.fingerprint, data.contents, data.medium) == (held.fingerprint, held.contents, held.medium)
        assert data.skipped == held.skipped and data.notes == held.notes and data.size == (8, 8)
        assert data.labels is held.labels or data.labels.tolist() == held.labels.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        slice(2, 9, 3),
        slice(None, None, -5),
        np.array([], dtype=int),
        np.array([5, -5, 5, 0]),
        np.array([[1, 2], [3, 4]]),
        (4, slice(1)),
        (np.array([7, 2]), 0),
    ],
)
def test_it_is_indexed_as_an_array_is(key: Any, tmp_path: Path) -> None:
    source = open_source(folder(tmp_path))
    np.testing.assert_array_equal(on_demand(source).stored[key], prepare(source).stored[key])


def test_an_absent_row_is_an_index_error(tmp_path: Path) -> None:
    stored = on_demand(open_source(folder(tmp_path))).stored
    for key in (22, -23, np.array([0, 22]), np.array([-23]), 0.5, "x"):
        with pytest.raises(IndexError, match="^rows are whole numbers or slices, within 22 data, not "):
            stored[key]


def test_grayscale_pictures_have_one_channel_on_demand(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(encode(noise(9, 5, 1, seed=i)))
    data = on_demand(open_source(tmp_path), size=(4, 4))
    assert data.stored.shape == (3, 1, 4, 4) and data.medium.channels == 1
    np.testing.assert_array_equal(data.stored[:], prepare(open_source(tmp_path), size=(4, 4)).stored)


def test_too_many_for_memory_and_disk_are_decoded_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(folder(tmp_path / "pictures"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    data = prepare(source, memory=100, cache=tmp_path / "c.npy")
    assert isinstance(data.stored, OnDemand) and [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert data.notes[-1] == (
        "each picture is decoded whenever it is needed, which takes time: 24 pictures of 3x8x8 take 4.5 KiB, more than"
        " memory may (100 B), and the disk has 10 B free"
    )


def test_broken_data_are_known_before_anything_is_asked_for(tmp_path: Path) -> None:
    data = on_demand(open_source(shards(tmp_path)))
    assert [one.name for one in data.skipped] == ["000.parquet[3]", "002.parquet[5]"] and len(data) == N - 2


@pytest.mark.parametrize(
    ("change", "came"), [(picture(2), "the bytes that the run began with, came others"), (None, "cannot be read")]
)
def test_a_datum_that_changes_or_goes_later_is_an_error_that_names_it(
    change: bytes | None, came: str, tmp_path: Path
) -> None:
    data = on_demand(open_source(folder(tmp_path)))
    path = tmp_path / "a" / "00.png"
    path.unlink()
    if change is not None:
        path.write_bytes(change)
    with pytest.raises(DataError, match=rf"^a/00\.png: .*{came}"):
        data.stored[np.array([4, 0])]


def test_no_more_is_held_than_was_allowed() -> None:
    n, shape, item = 2000, (3, 32, 32), 3 * 32 * 32
    names = tuple(map(str, range(n)))
    source = TableSource(Image(), names, lambda i: b"%d" % i, "")
    contents = b"".join(bytes.fromhex(sha256_of(b"%d" % i)) for i in range(n))
    decoder = Constant(shape)
    stored = OnDemand(source, decoder, range(n), contents, shape, np.dtype(np.uint8), limit=40 * item)
    stored[:100]
    tracemalloc.start()
    for start in range(0, n, 100):
        assert stored[np.arange(start, start + 100)][7, 0, 0, 0] == (start + 7) % 256
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 40 * item <= held < 60 * item and most < 500 * item


@dataclass(frozen=True)
class Constant:
    """A decoder: datum i is i mod 256 throughout."""

    shape: tuple[int, ...]
    settings = ()

    def __call__(self, kept: Any, name: str) -> Decoded:
        return Decoded(np.full(self.shape, int(kept) % 256, np.uint8))

    def conclude(self, traits: Any) -> Any:
        raise AssertionError


def test_reading_many_shards_opens_one_file_at_a_time(tmp_path: Path) -> None:
    import resource

    root = shards(tmp_path, files=N)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(int(name) for name in os.listdir("/proc/self/fd")) + 6
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    try:
        data = on_demand(open_source(root), memory=0)
        data.stored[np.random.default_rng(0).permutation(N - 2)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_group_of_rows_is_read_once_for_all_rows_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.data import parquet

    data = on_demand(open_source(shards(tmp_path)), memory=0)
    reads: list[int] = []
    read = parquet._read_group
    monkeypatch.setattr(parquet, "_read_group", lambda *a: (reads.append(0), read(*a))[1])
    monkeypatch.setattr(parquet, "HELD_BYTES", 0)
    data.stored[np.random.default_rng(0).permutation(N - 2)]
    assert len(reads) <= N // 2


# Processes and threads ------------------------------------------------------------------------------------------------


def test_it_can_be_sent_to_another_process(source: DataSource) -> None:
    data = on_demand(source)
    data.stored[0]
    other: Any = pickle.loads(pickle.dumps(data.stored))
    np.testing.assert_array_equal(other[:], data.stored[:])


def test_a_fork_reads_by_itself(source: DataSource) -> None:
    """Both read at once: with one file between them, each would change the other's position in it."""
    stored = on_demand(source, memory=0).stored
    expected = stored[:].tobytes()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        same = all(stored[:].tobytes() == expected for _ in range(3))
        os.write(writer, b"yes" if same else b"no")
        os._exit(0)
    assert all(stored[:].tobytes() == expected for _ in range(3))
    os.waitpid(child, 0)
    assert os.read(reader, 3) == b"yes"
    os.close(reader), os.close(writer)


def test_threads_may_read_at_once(source: DataSource) -> None:
    stored = on_demand(source, memory=1000).stored
    expected, found = stored[:], []
    dice = np.random.default_rng(0)
    orders = [dice.permutation(len(stored)) for _ in range(4)]
    threads = [threading.Thread(target=lambda o=o: found.append((o, stored[o]))) for o in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for order, data in found:
        np.testing.assert_array_equal(data, expected[order])


def test_a_value_of_a_process_is_made_anew_in_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    value: OfProcess[object] = OfProcess(object)
    first = value()
    assert value() is first
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert value() is not first


def test_the_latest_are_held_within_the_limit() -> None:
    recent: Recent[str] = Recent(10)
    for key in "abc":
        recent.put(key, key.upper(), 4)
    assert [recent.get(key) for key in "abc"] == [None, "B", "C"]
    recent.get("b")
    recent.put("d", "D", 4)
    assert [recent.get(key) for key in "bcd"] == ["B", None, "D"]
    recent.put("e", "E", 11)
    assert [recent.get(key) for key in "bde"] == [None, None, None]
    two: Recent[str] = Recent(0, least=2)
    for key in "abc":
        two.put(key, key, 4)
    assert [two.get(key) for key in "abc"] == [None, "b", "c"]


@pytest.mark.release
def test_a_spawned_process_reads_the_same(source: DataSource) -> None:
    stored = on_demand(source).stored
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(operator.getitem, (stored, slice(None))), stored[:])
