"""IDX files, their labels, and the splits of a folder of them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from small_pictures import image

from sfumato.data import open_source, prepare
from sfumato.errors import DataError, InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10
FASHION_MNIST = Path(__file__).parents[3] / "shared" / "data" / "fashion_mnist"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder: Path, split: str = "train", ending: str = "", labels: np.ndarray | None = LABELS) -> Path:
    pack = gzip.compress if ending == ".gz" else bytes
    folder.mkdir(exist_ok=True)
    path = folder / f"{split}-images-idx3-ubyte{ending}"
    path.write_bytes(pack(idx(IMAGES)))
    if labels is not None:
        (folder / f"{split}-labels-idx1-ubyte{ending}").write_bytes(pack(idx(labels)))
    return path


@pytest.mark.parametrize("ending", ("", ".gz"))
def test_a_folder_opens_its_training_split_and_a_file_itself(tmp_path: Path, ending: str) -> None:
    write(tmp_path / "mnist", "train", ending)
    other = write(tmp_path / "mnist", "t10k", ending, LABELS[::-1].copy())
    for where, labels, stem in ((tmp_path / "mnist", LABELS, "train"), (other, LABELS[::-1], "t10k")):
        source = open_source(where)
        assert len(source) == 12 and source.classes == tuple("0123456789") and source.notes == ()
        assert [source.label(i) for i in range(12)] == labels.tolist()
        assert source.name(3) == f"{stem}-images-idx3-ubyte[3]"
        assert image(source, 3).mode == "L"
        np.testing.assert_array_equal(np.asarray(image(source, 3)), IMAGES[3])


def test_fashion_has_names(tmp_path: Path) -> None:
    (tmp_path / "FashionMNIST").mkdir()
    write(tmp_path / "FashionMNIST" / "raw")
    classes = open_source(tmp_path / "FashionMNIST" / "raw").classes
    assert classes[0] == "T-shirt/top" and classes[9] == "Ankle boot" and len(classes) == 10


def test_labels_beyond_nine_have_classes_too(tmp_path: Path) -> None:
    write(tmp_path / "letters", labels=np.arange(1, 13, dtype=np.uint8))
    assert open_source(tmp_path / "letters").classes == tuple(str(i) for i in range(13))


def test_without_labels_there_are_no_classes(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "mnist", labels=None))
    assert source.classes == () and source.label(0) is None
    assert source.notes == ("no labels: train-labels-idx1-ubyte is not beside the pictures",)


def test_labels_may_be_packed_when_pictures_are_not(tmp_path: Path) -> None:
    path = write(tmp_path, labels=None)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS)))
    assert open_source(path).label(3) == 3


def test_several_files_without_a_training_split_must_be_named(tmp_path: Path) -> None:
    write(tmp_path, "a")
    assert len(open_source(tmp_path)) == 12
    write(tmp_path, "b")
    with pytest.raises(InputError, match=r"expected one file of pictures, came a-images-idx3-ubyte, b-.*; name one"):
        open_source(tmp_path)


@pytest.mark.parametrize("ending", ("", ".gz"))
@pytest.mark.parametrize("kept", (0, 3, 10, 16, 100))
def test_a_cut_file_is_an_error(tmp_path: Path, ending: str, kept: int) -> None:
    path = write(tmp_path, ending=ending)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=f"{path.name}: expected .*; fetch it again"):
        open_source(path)


def test_a_cut_or_long_body_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, ending=".gz")
    for data, came in ((idx(IMAGES)[:-1], "fewer"), (idx(IMAGES) + b"x", "more")):
        path.write_bytes(gzip.compress(data))
        with pytest.raises(DataError, match=f"expected 240 bytes after the header, came {came}; fetch it again"):
            open_source(path)


def test_a_header_that_promises_the_moon_sets_nothing_aside(tmp_path: Path) -> None:
    path = write(tmp_path, ending=".gz")
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)))
    with pytest.raises(DataError, match="bytes after the header, came fewer"):
        open_source(path)


def test_other_contents_are_errors(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(b"\x00\x00\x0d\x03" + bytes(100))
    with pytest.raises(DataError, match="expected an IDX header 00000803, came '00000d03'; fetch it again"):
        open_source(path)
    path.write_bytes(idx(IMAGES))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:5]))
    with pytest.raises(ValueError, match=r"expected labels of shape \(12,\), one a picture, came \(5,\)"):
        open_source(path)
    path.write_bytes(idx(IMAGES[:0]))
    with pytest.raises(DataError, match="expected at least one picture with a pixel"):
        open_source(path)


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="Fashion-MNIST is not here")
def test_the_real_fashion_mnist() -> None:
    source = open_source(FASHION_MNIST / "t10k-images-idx3-ubyte.gz")
    pictures = prepare(source)
    assert pictures.stored.shape == (10_000, 1, 28, 28) and pictures.skipped == () and pictures.notes == ()
    assert pictures.labels is not None and np.bincount(pictures.labels).tolist() == [1000] * 10
    assert pictures.classes[pictures.labels[0]] == "Ankle boot"
    assert round(float(pictures.stored.mean()), 2) == 73.15
