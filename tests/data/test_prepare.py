"""Pictures are decoded once, in order, to one form; broken ones are left out and named."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_pictures import encode, noise

from sfumato.data import Dataset, open_source, prepare
from sfumato.data.parallel import in_order
from sfumato.errors import DataError, InputError, StorageError
from sfumato.media import Image as Pictures
from sfumato.media import Medium
from sfumato.media.image import to_array

Fill = Callable[..., Path]


def picture(i: int, size: tuple[int, int] = (8, 8), channels: int = 3) -> bytes:
    return encode(noise(*size, channels, seed=i))


def test_everything_known_of_a_picture_stays_with_it(folder: Fill) -> None:
    files = {"cat/1.png": picture(1), "dog/2.png": picture(2), "cat/1.txt": "a cat", "eel/3.png": b"junk"}
    seen: list[tuple[int, int]] = []
    pictures = prepare(open_source(folder(files)), progress=lambda done, of: seen.append((done, of)))
    assert pictures.stored.shape == (2, 3, 8, 8) and pictures.stored.dtype == np.uint8 and len(pictures) == 2
    np.testing.assert_array_equal(pictures.stored[1], to_array(noise(8, 8, seed=2), size=(8, 8), channels=3))
    assert pictures.labels is not None and pictures.labels.dtype == np.int64
    assert pictures.labels.tolist() == [0, 1] and pictures.classes == ("cat", "dog", "eel")
    assert pictures.captions == (("a cat",), ()) and pictures.names == ("cat/1.png", "dog/2.png")
    assert [one.name for one in pictures.skipped] == ["eel/3.png"]
    assert pictures.skipped[0].reason.startswith("expected a picture (BMP, GIF,")
    assert pictures.notes == (
        "2 of 3 pictures have no caption: dog/2.png, eel/3.png",
        "1 of 3 pictures was left out as broken: eel/3.png",
        "no picture is left of eel",
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_nothing_left_is_an_error_with_the_first_reasons(folder: Fill) -> None:
    source = open_source(folder({f"{i}.png": b"" for i in range(5)}))
    came = (
        r"came none of 5 that can be used \(0\.png: expected a picture, came an empty file; .*; 2\.png: [^0-9]*\); mend"
    )
    with pytest.raises(DataError, match=came):
        prepare(source)


def test_without_a_size_all_pictures_must_share_one(folder: Fill) -> None:
    files = {"a.png": picture(0, (9, 5)), "b.png": picture(1, (9, 5)), "c.png": picture(2, (5, 9))}
    source = open_source(folder(files))
    with pytest.raises(InputError, match=r"differ \(a\.png is 9×5, c\.png is 5×9\), came None; give size$"):
        prepare(source)
    assert prepare(source, size=(6, 3)).stored.shape == (3, 3, 3, 6)
    assert prepare(open_source(folder({"a.png": files["a.png"], "b.png": b""}, "one"))).stored.shape == (1, 3, 5, 9)


def test_channels_follow_the_pictures(folder: Fill) -> None:
    deep = encode(Image.fromarray(np.full((8, 8), 257 * 9, dtype=np.uint16)))
    bits = encode(Image.new("1", (8, 8), 1))
    grayscale = prepare(open_source(folder({"a.png": picture(0, channels=1), "b.png": deep, "c.png": bits}, "grey")))
    assert grayscale.stored.shape == (3, 1, 8, 8) and (grayscale.stored[1] == 9).all()
    assert grayscale.stored.flags.c_contiguous
    np.testing.assert_array_equal(grayscale.stored[0, 0], np.asarray(noise(8, 8, 1)))
    mixed = open_source(folder({"a.png": picture(0, channels=1), "b.png": picture(1)}, "mixed"))
    assert prepare(mixed).stored.shape == (2, 3, 8, 8)
    assert prepare(mixed, channels=1).stored.shape == (2, 1, 8, 8)
    assert prepare(mixed, channels=4).stored.shape == (2, 4, 8, 8)


@pytest.mark.parametrize(("most", "noted"), [(4095, True), (4096, False)])
def test_sixteen_bits_of_which_the_upper_are_not_used_are_noted(folder: Fill, most: int, noted: bool) -> None:
    deep = [encode(Image.fromarray(np.full((8, 8), value, dtype=np.uint16))) for value in (9, most)]
    pictures = prepare(open_source(folder({"a.png": deep[0], "b.png": deep[1], "c.png": picture(0, channels=1)})))
    note = "2 pictures of 16 bits, all below 1/16 of white (at most 4,095 of 65,535): nearly black; scale them if white"
    assert pictures.notes == ((f"{note} is less",) if noted else ())


def test_the_fingerprint_follows_settings_and_losses(folder: Fill) -> None:
    source = open_source(folder({"a.png": picture(0, (9, 5)), "b.png": picture(1, (9, 5))}))
    whole = prepare(source)
    assert prepare(source, size=(9, 5), channels=3).fingerprint == whole.fingerprint
    others = [
        prepare(source, size=(9, 6)),
        prepare(source, channels=1),
        prepare(source, fit="pad"),
        prepare(source, background=(0, 0, 0)),
        prepare(open_source(folder({"b.png": bytes(len(picture(1, (9, 5))))}))),  # as long, and broken
    ]
    assert len({one.fingerprint for one in (whole, *others)}) == 6


def test_contents_follow_the_bytes_of_the_kept_data(folder: Fill) -> None:
    files = {"a.bmp": encode(noise(8, 8), "BMP"), "b.png": b"junk", "c.bmp": encode(noise(8, 8, seed=1), "BMP")}
    one = prepare(open_source(folder(files)))
    assert len(one.contents) == 64 and prepare(open_source(folder(files)), size=(4, 4)).contents == one.contents
    assert prepare(open_source(folder({"b.png": b"jink"}))).contents == one.contents, "it was left out"
    other = prepare(open_source(folder({"a.bmp": encode(noise(8, 8, seed=2), "BMP"), "b.png": b"junk"})))
    assert other.contents != one.contents and other.fingerprint == one.fingerprint
    swapped = dict(zip(files, reversed(files.values()), strict=True))
    assert prepare(open_source(folder(swapped, "swapped"))).contents != one.contents


@pytest.fixture
def twenty(folder: Fill) -> Path:
    return folder({f"{i:02}.png": b"junk" if i in (3, 17) else picture(i) for i in range(20)})


def test_too_many_for_memory_go_to_the_cache(twenty: Path, tmp_path: Path) -> None:
    source, cache = open_source(twenty), tmp_path / "cache.npy"
    kept: Dataset = prepare(source, memory=20 * 192, cache=cache)
    assert not isinstance(kept.stored, np.memmap) and not cache.exists()
    mapped = prepare(source, memory=20 * 192 - 1, cache=cache)
    assert isinstance(mapped.stored, np.memmap)
    np.testing.assert_array_equal(mapped.stored, kept.stored)
    assert mapped.fingerprint == kept.fingerprint
    mapped.stored[:] = 0
    np.testing.assert_array_equal(np.load(cache), kept.stored)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.npy", "pictures"]


def test_grayscale_pictures_in_the_cache_have_one_channel(folder: Fill, tmp_path: Path) -> None:
    source = open_source(folder({f"{i}.png": picture(i, channels=1) for i in range(3)}))
    np.testing.assert_array_equal(
        prepare(source, memory=0, cache=tmp_path / "c.npy").stored, prepare(source, channels=1).stored
    )


@pytest.mark.parametrize(("store", "came"), [("map", "came none; give it"), ("disk", "map or source, came 'disk'")])
def test_a_store_that_cannot_be_is_refused(twenty: Path, store: Any, came: str) -> None:
    with pytest.raises(InputError, match=f"^store: expected .*{came}$"):
        prepare(open_source(twenty), store=store)


def test_a_disk_that_fails_leaves_the_old_cache(twenty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache.npy"
    cache.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    source = open_source(twenty)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match=r"no space to write .*cache\.npy: 0\.0 MB needed, [\d,.]+ MB free"):
            prepare(source, memory=0, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(StorageError, match=r"but only 10 B are free for .*cache\.npy; make room"):
            prepare(source, store="map", cache=cache)
    with pytest.raises(StorageError, match=r"cannot write .*c\.npy: (File exists|Not a directory)"):
        prepare(source, memory=0, cache=cache / "c.npy")
    assert cache.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.npy", "pictures"]


def test_stopping_leaves_no_half_file_and_no_thread(twenty: Path, tmp_path: Path) -> None:
    def stop(done: int, of: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(open_source(twenty), memory=0, cache=tmp_path / "c.npy", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert not any(thread.name.startswith("sfumato-data") for thread in threading.enumerate())


@pytest.mark.parametrize(
    "wrong", [{"size": (0, 1)}, {"channels": 0}, {"channels": 2}, {"fit": "x"}, {"background": (1,)}, {"size": ()}]
)
def test_wrong_arguments_are_refused_before_anything_is_read(wrong: dict[str, object]) -> None:
    @dataclass
    class Untouched:
        medium: Medium = Pictures()

        def __len__(self) -> int:
            raise AssertionError

    with pytest.raises(InputError, match="expected"):
        prepare(Untouched(), **wrong)  # type: ignore[arg-type]


def test_slow_work_runs_ahead_in_threads_and_comes_in_order() -> None:
    threads: set[str] = set()
    most = 0

    def work(i: int) -> int:
        nonlocal most
        threads.add(threading.current_thread().name)
        most = max(most, i)
        time.sleep(0.004 if i % 2 else 0.002)
        return i

    results = in_order(work, 60)
    for i in range(30):
        assert next(results) == i
    assert any(name.startswith("sfumato-data") for name in threads)
    assert most < 30 + 2 * 8 + 2
    assert list(results) == list(range(30, 60))


def test_an_error_that_is_not_the_pictures_is_not_swallowed(folder: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("PIL.Image.Image.resize", fault)
    with pytest.raises(ZeroDivisionError):
        prepare(open_source(folder({"a.png": None})))
