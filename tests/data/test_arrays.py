"""A .npz of pictures, checked for type, shape and size, and never unpickled."""

import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_pictures import image

from sfumato.data import open_source
from sfumato.errors import DataError, ShapeError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)


class Canary:
    """Unpickling one makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def save(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path / "a.npz", **arrays)
    return path / "a.npz"


@pytest.mark.parametrize("key", ("images", "arr_0"))
@pytest.mark.parametrize("images", (IMAGES, IMAGES[..., 0], IMAGES[..., :1], np.repeat(IMAGES[..., :1], 4, axis=3)))
def test_pictures_of_each_shape(tmp_path: Path, key: str, images: np.ndarray) -> None:
    source = open_source(save(tmp_path, **{key: images}))
    assert len(source) == 3 and source.classes == () and source.label(0) is None and source.captions(0) == ()
    assert source.name(2) == "a[2]"
    np.testing.assert_array_equal(np.asarray(image(source, 1)), np.squeeze(images[1]))


def test_labels_classes_and_captions(tmp_path: Path) -> None:
    labels, classes = np.array([1, 0, 1], dtype=np.uint8), np.array(["cat", "dog", "owl"])
    captions = np.array([["a dog", ""], ["a cat", "a tabby"], ["", " "]])
    source = open_source(save(tmp_path, images=IMAGES, labels=labels, classes=classes, captions=captions))
    assert source.classes == ("cat", "dog", "owl")
    assert [source.label(i) for i in range(3)] == [1, 0, 1]
    assert [source.captions(i) for i in range(3)] == [("a dog",), ("a cat", "a tabby"), ()]
    one = open_source(save(tmp_path, images=IMAGES, labels=labels, captions=np.array(["x", "", "z"])))
    assert one.classes == ("0", "1") and [one.captions(i) for i in range(3)] == [("x",), (), ("z",)]


def test_the_fingerprint_covers_every_byte(tmp_path: Path) -> None:
    changed = IMAGES.copy()
    changed[2, 3, 5, 2] ^= 1
    variants: list[dict[str, Any]] = [
        {"images": IMAGES},
        {"images": changed},
        {"images": IMAGES, "labels": np.array([0, 1, 0])},
        {"images": IMAGES, "labels": np.array([0, 1, 1])},
        {"images": IMAGES, "captions": np.array(["a", "b", "c"])},
    ]
    assert len({open_source(save(tmp_path, **variant)).fingerprint for variant in variants}) == len(variants)
    assert (
        open_source(save(tmp_path, arr_0=IMAGES)).fingerprint == open_source(save(tmp_path, images=IMAGES)).fingerprint
    )


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        ({"pictures": IMAGES}, DataError, r"a\.npz: expected an array 'images', came pictures; rename it"),
        ({}, DataError, "came none; rename it"),
        ({"images": IMAGES / 255}, DataError, r"expected .* uint8, came float64; convert by \(x \* 255\)\.round\(\)"),
        ({"images": IMAGES.astype(int)}, DataError, r"came int64; convert by astype\('uint8'\) if every value is 0"),
        ({"images": IMAGES > 9}, DataError, r"came bool; convert by \(x \* 255\)\.astype\('uint8'\)$"),
        (
            {"images": IMAGES[0]},
            ShapeError,
            r"came \(4, 6, 3\), which is one RGB picture or 4 grayscale ones; save images\[None\] for the first",
        ),
        ({"images": IMAGES[0, 0]}, ShapeError, r"\(n, h, w\) or \(n, h, w, c\) with c of 1, 3 or 4, came \(6, 3\)"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, ShapeError, r"came \(3, 3, 4, 6\); transpose it by \(0, 2, 3, 1\)"),
        ({"images": np.uint8(3)}, ShapeError, r"came \(\); reshape it"),
        ({"images": IMAGES[:0], "captions": np.array([], dtype=str)}, DataError, "expected at least one picture"),
        ({"images": IMAGES, "labels": np.zeros(3)}, DataError, "expected whole numbers as labels, came float64"),
        ({"images": IMAGES, "labels": np.zeros((3, 1), int)}, ShapeError, r"shape \(3,\), one a .* came \(3, 1\)"),
        ({"images": IMAGES, "labels": np.array([0, -1, 2])}, DataError, "labels 0 to 99999, came -1 to 2; number"),
        ({"images": IMAGES, "labels": np.array([0, 1, 10**9])}, DataError, "came 0 to 1000000000"),
        (
            {"images": IMAGES, "labels": np.array([0, 1, 2]), "classes": np.array(["a", "b"])},
            DataError,
            "expected labels 0 to 1, came 0 to 2",
        ),
        ({"images": IMAGES, "classes": np.array([1, 2])}, DataError, "'classes': expected strings, came int64; save"),
        ({"images": IMAGES, "classes": np.array([["a"]])}, ShapeError, r"'classes': .* came \(1, 1\)"),
        ({"images": IMAGES, "captions": np.array(["a", "b"])}, ShapeError, r"'captions': .* \(3,\) or .* came \(2,\)"),
        ({"images": IMAGES, "captions": np.full((3, 2000), "")}, ShapeError, r"m at most 1000, came \(3, 2000\)"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        open_source(save(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


def test_thin_grayscale_pictures_are_counted_by_their_labels_and_captions(tmp_path: Path) -> None:
    assert len(open_source(save(tmp_path, images=IMAGES[0], labels=np.arange(4)))) == 4
    assert len(open_source(save(tmp_path, images=IMAGES[0], captions=np.array(list("abcd"))))) == 4
    assert len(open_source(save(tmp_path, images=IMAGES[0][..., None]))) == 4


def test_pictures_of_zeros_and_ones_are_noted(tmp_path: Path) -> None:
    source = open_source(save(tmp_path, images=(IMAGES > 99).astype(np.uint8)))
    assert source.notes == ("every value is 0 or 1, nearly black: multiply by 255 if 1 is white",)
    assert open_source(save(tmp_path, images=np.zeros_like(IMAGES))).notes == ()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("key", ("captions", "classes"))
def test_numbers_that_are_no_characters_are_refused(tmp_path: Path, key: str, order: str) -> None:
    strings = np.full(3, 0x7FFFFFFF, f"{order}i4").view(f"{order}U1")
    with pytest.raises(DataError, match=f"'{key}': expected a whole array, came .*numbers that are no characters"):
        open_source(save(tmp_path, images=IMAGES, **{key: strings}))
    whole = np.array(["a", "é", "😀"]).astype(f"{order}U1")
    assert open_source(save(tmp_path, images=IMAGES, captions=whole)).captions(2) == ("😀",)


def test_arrays_by_columns_are_read_as_they_were_saved(tmp_path: Path) -> None:
    source = open_source(save(tmp_path, images=np.asfortranarray(IMAGES)))
    np.testing.assert_array_equal(np.asarray(image(source, 2)), IMAGES[2])


@pytest.mark.parametrize("key", ("images", "labels", "captions"))
def test_objects_are_refused_and_never_unpickled(tmp_path: Path, key: str) -> None:
    canary = tmp_path / "canary"
    arrays = {"images": IMAGES, key: np.array([Canary(canary)] * 3, dtype=object)}
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=f"'{key}': expected plain numbers or strings, came Python objects, which"):
        open_source(path)
    assert not canary.exists()


def test_a_bare_pickle_in_any_place_is_never_loaded(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    raw = pickle.dumps(Canary(canary))
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(DataError, match="expected a zip archive"):
        open_source(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("images.npy", raw)
    with pytest.raises(DataError, match="'images': expected a whole array, came damaged data"):
        open_source(tmp_path / "b.npz")
    assert not canary.exists()


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    data = save(tmp_path, images=IMAGES).parent / "b.npz"
    with zipfile.ZipFile(data, "w") as archive, archive.open("images.npy", "w") as stream:
        fields = {"descr": "|u1", "fortran_order": False, "shape": (10**4, 10**4, 3)}
        np.lib.format.write_array_header_1_0(stream, fields)
    tracemalloc.start()
    with pytest.raises(DataError, match="'images': expected a whole array, came damaged data .*where the shape needs"):
        open_source(data)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_member_that_unpacks_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.data.npz.MAX_ARRAY_BYTES", 10_000)
    with pytest.raises(DataError, match=r"'images': images\.npy: expected at most 10,000 bytes, came"):
        open_source(save(tmp_path, images=np.zeros((100, 20, 20), dtype=np.uint8)))


@pytest.mark.parametrize("trials", [150, pytest.param(20_000, marks=pytest.mark.release)])
def test_flipped_bytes_give_pictures_or_a_typed_error(tmp_path: Path, trials: int) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([0, 1, 2]), captions=np.array(["a", "b", "c"]))
    whole = np.frombuffer((tmp_path / "a.npz").read_bytes(), dtype=np.uint8)
    for _ in range(trials):
        data = whole.copy()
        data[random.integers(0, len(data), size=random.integers(1, 6))] = random.integers(0, 256)
        (tmp_path / "b.npz").write_bytes(data.tobytes())
        try:
            open_source(tmp_path / "b.npz")
        except (DataError, ShapeError) as error:
            assert "\n" not in str(error)
