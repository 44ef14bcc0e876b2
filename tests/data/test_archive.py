"""A .zip is read like the folder it holds, and a hostile one does no harm."""

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_pictures import encode, image, noise

from sfumato.data import open_source
from sfumato.errors import DataError

PICTURE = encode(noise(6, 4))


def pack(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_zip_equals_its_folder(tmp_path: Path, folder: Callable[..., Path]) -> None:
    files = {"dog/2.png": None, "cat/1.png": None, "cat/1.txt": "a cat", ".x/y.png": None}
    files["metadata.jsonl"] = [{"file_name": "dog/2.png", "text": "a dog"}]
    root = folder(files)
    contents = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    one, two = open_source(root), open_source(pack(tmp_path / "a.zip", contents))
    assert two.classes == ("cat", "dog") and [two.captions(i) for i in range(2)] == [("a cat",), ("a dog",)]
    assert (one.fingerprint, one.classes, one.notes) == (two.fingerprint, two.classes, two.notes)
    np.testing.assert_array_equal(np.asarray(image(one, 1)), np.asarray(image(two, 1)))


def test_one_folder_around_everything_is_the_root(tmp_path: Path) -> None:
    mac = {"__MACOSX/pets/._1.png": b"x", "pets/.DS_Store": b"x"}
    source = open_source(pack(tmp_path / "a.zip", {"pets/cat/1.png": PICTURE, "pets/dog/2.png": PICTURE, **mac}))
    assert source.classes == ("cat", "dog") and source.name(0) == "cat/1.png" and source.notes == ()
    flat = open_source(
        pack(tmp_path / "b.zip", {"pets/1.png": PICTURE, "pets/metadata.csv": b"file_name,text\n1.png,x"})
    )
    assert flat.classes == () and flat.captions(0) == ("x",)


def test_names_are_brought_to_one_spelling(tmp_path: Path) -> None:
    source = open_source(pack(tmp_path / "a.zip", {"./cat\\1.png": PICTURE, "dog//2.png": PICTURE}))
    assert [source.name(i) for i in range(2)] == ["cat/1.png", "dog/2.png"]


def test_a_folder_of_zips_is_read_as_if_unpacked_into_one(tmp_path: Path) -> None:
    rows = b'{"file_name": "dog/2.png", "text": "a dog"}'
    pack(tmp_path / "zips" / "a.zip", {"pets/cat/3.png": PICTURE, "pets/dog/2.png": PICTURE})
    pack(tmp_path / "zips" / "b.zip", {"pets/cat/1.png": PICTURE, "pets/metadata.jsonl": rows})
    (tmp_path / "zips" / "README.md").write_text("x")
    source = open_source(tmp_path / "zips")
    assert [source.name(i) for i in range(3)] == ["cat/1.png", "cat/3.png", "dog/2.png"]
    assert source.classes == ("cat", "dog") and source.captions(2) == ("a dog",) and image(source, 1).size == (6, 4)
    pack(tmp_path / "zips" / "train-c.zip", {"x.png": PICTURE})
    train = open_source(tmp_path / "zips")
    assert train.name(0) == "x.png" and train.notes == ("2 files beside the training split passed over: a.zip, b.zip",)
    pack(tmp_path / "zips" / "train-d.zip", {"x.png": PICTURE})
    with pytest.raises(
        DataError, match=r"c\.zip and .*d\.zip: expected every name once, came x\.png in both; pack it in"
    ):
        open_source(tmp_path / "zips")


@pytest.mark.parametrize("name", ("../a.png", "x/../../a.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "c:a.png"))
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "a.zip", {"ok.png": PICTURE, name: PICTURE})
    with pytest.raises(DataError, match=r"expected names below the archive's root, came '.*'; pack it again"):
        open_source(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_member_that_unpacks_too_large_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.data.tree.MAX_BYTES", 1000)
    source = open_source(pack(tmp_path / "a.zip", {"a.png": bytes(10_000_000), "b.png": PICTURE}))
    with pytest.raises(DataError, match=r"a\.png: expected at most 1,000 bytes, came 10,000,000; take it out"):
        image(source, 0)
    assert image(source, 1).size == (6, 4)


def test_a_member_that_lies_about_its_size_is_cut_there(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.png": bytes(10_000_000)})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 10_000_000), struct.pack("<I", 500)))
    source = open_source(path)
    with pytest.raises(DataError, match=r"^a\.png: expected a whole member, came damaged data \(Bad CRC-32"):
        image(source, 0)


@pytest.mark.parametrize("method", (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
def test_methods_that_expand_without_bound_are_refused(tmp_path: Path, method: int) -> None:
    source = open_source(pack(tmp_path / "a.zip", {"a.png": PICTURE}, method))
    with pytest.raises(DataError, match=f"expected Deflate or no compression, came method {method}; pack it with"):
        image(source, 0)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.png": PICTURE})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="came an encrypted member; pack it without a password"):
        image(open_source(path), 0)


def test_damaged_data_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.png": PICTURE}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^a\.png: expected a whole member, came damaged data \(Bad CRC-32"):
        image(open_source(path), 0)


@pytest.mark.parametrize("name", ("\0b.png", "\0"))
def test_a_name_that_begins_with_a_zero_byte_is_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "a.zip", {"ok.png": PICTURE, "Q" + name[1:]: PICTURE})
    path.write_bytes(path.read_bytes().replace(b"Q" + name[1:].encode(), name.encode()))
    with pytest.raises(DataError, match=r"expected names below the archive's root, came ''; pack it again"):
        open_source(path)


def test_folders_with_backslashes_are_folders(tmp_path: Path) -> None:
    members = {"cats\\": b"", "cats\\1.png": PICTURE, "dogs/": b"", "dogs\\1.png": PICTURE}
    source = open_source(pack(tmp_path / "a.zip", members))
    assert source.classes == ("cats", "dogs") and source.notes == ()


def test_names_in_utf8_that_is_not_flagged_are_read_as_such(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"caf\xe9/1.png": PICTURE, "th\xe9/1.png": PICTURE})
    data = bytearray(path.read_bytes())
    for start, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = data.find(start)
        while place >= 0:
            data[place + flags + 1] &= ~8
            place = data.find(start, place + 1)
    path.write_bytes(data)
    assert zipfile.ZipFile(path).namelist()[0] != "café/1.png"
    source = open_source(path)
    assert source.classes == ("café", "thé") and image(source, 0).size == (6, 4)


@pytest.mark.parametrize("name", ("a.txt", "metadata.csv", "metadata.jsonl", "metadata.json"))
def test_a_text_that_is_packed_as_no_text_is_stays_packed(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "a.zip", {"a.png": PICTURE, name: b"a\n" * 10_000_000})
    tracemalloc.start()
    try:
        source = open_source(path)
    except DataError as error:
        assert f"{name}: expected at most" in str(error)
    else:
        assert "1 caption file passed over: a.txt (a.txt: expected at most" in source.notes[0]
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("data", (b"", b"junk", PICTURE))
def test_other_files_than_archives_are_errors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip: expected a zip archive, came File is not a zip file; pack it again"):
        open_source(tmp_path / "a.zip")


def test_an_archive_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.zip: expected pictures .*, came none; add some"):
        open_source(pack(tmp_path / "a.zip", {}))


@pytest.mark.parametrize("trials", [150, pytest.param(20_000, marks=pytest.mark.release)])
def test_flipped_bytes_give_pictures_or_a_typed_error(tmp_path: Path, trials: int) -> None:
    random = np.random.default_rng(0)
    members = {"cat/a.png": PICTURE, "dog/b.png": PICTURE, "metadata.jsonl": b'{"file_name": "cat/a.png", "text": "x"}'}
    whole = np.frombuffer(pack(tmp_path / "a.zip", members).read_bytes(), dtype=np.uint8)
    for trial in range(trials):
        data = whole.copy()
        data[random.integers(0, len(data), size=random.integers(1, 6))] = random.integers(0, 256)
        (tmp_path / "b.zip").write_bytes(data.tobytes()[: len(data) - (trial % 3) * random.integers(0, 200)])
        try:
            source = open_source(tmp_path / "b.zip")
            for i in range(len(source)):
                image(source, i)
        except DataError as error:
            assert "\n" not in str(error)
