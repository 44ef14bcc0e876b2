"""A folder of pictures: order, classes, what is passed over, links."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from small_pictures import encode, noise

from sfumato.data import Source, open_source
from sfumato.errors import DataError

Fill = Callable[..., Path]


def names(source: Source) -> list[str]:
    return [source.name(i) for i in range(len(source))]


def test_the_order_is_by_the_bytes_of_the_path(folder: Fill) -> None:
    files = ["b.png", "a10.png", "a2.png", "Z.png", "é.png", "a/z.png", "a.png", "a-b.png"]
    source = open_source(folder(dict.fromkeys(files)))
    assert names(source) == sorted(files, key=str.encode)
    assert names(source) == ["Z.png", "a-b.png", "a.png", "a/z.png", "a10.png", "a2.png", "b.png", "é.png"]


def test_the_first_sub_folder_is_the_class(folder: Fill) -> None:
    source = open_source(folder({"dog/1.png": None, "cat/old/2.png": None, "cat/1.png": None}))
    assert source.classes == ("cat", "dog")
    assert [(source.name(i), source.label(i)) for i in range(3)] == [
        ("cat/1.png", 0),
        ("cat/old/2.png", 0),
        ("dog/1.png", 1),
    ]
    assert source.notes == () and source.captions(0) == ()


def test_pictures_at_the_top_mean_no_classes(folder: Fill) -> None:
    flat = open_source(folder({"1.png": None, "2.png": None}))
    assert flat.classes == () and flat.label(0) is None and flat.notes == ()
    mixed = open_source(folder({"1.png": None, "cat/2.png": None}, "mixed"))
    assert mixed.classes == () and mixed.label(1) is None
    assert mixed.notes == ("no classes: 1 picture at the top beside the sub-folders cat",)


def test_folders_that_look_like_splits_are_pointed_out(folder: Fill) -> None:
    source = open_source(folder({"train/1.png": None, "test/2.png": None}))
    assert source.notes == ("the classes test, train look like splits: to train on one, name its folder",)


def test_hidden_files_are_passed_over_and_others_counted(folder: Fill) -> None:
    files = {"a.PNG": None, ".b.png": None, ".git/c.png": None, "d.pdf": "x", "e.json": "{}", "f.csv": "", "g.txt": "x"}
    source = open_source(folder(files))
    assert names(source) == ["a.PNG"]
    assert source.notes == ("1 file of other kinds passed over: d.pdf",)


def test_a_folder_without_pictures_is_an_error_that_says_what_there_is(folder: Fill) -> None:
    root = folder({"a.pdf": "x", "b.mov": "x", "c.pdf": "x", "d.pdf": "x"})
    came = r"came none \(4 files of other kinds passed over: a.pdf, b.mov, c.pdf, \.\.\.\); add some"
    with pytest.raises(DataError, match=r"pictures: expected pictures \(.bmp .gif .*\), " + came):
        open_source(root)
    (root.parent / "empty").mkdir()
    with pytest.raises(DataError, match="came none; add some"):
        open_source(root.parent / "empty")


def test_a_picture_is_read_and_a_broken_one_named(folder: Fill) -> None:
    source = open_source(folder({"a.png": encode(noise(6, 4)), "b/c.png": b"junk"}))
    assert source.image(0).size == (6, 4)
    with pytest.raises(DataError, match=r"^b/c\.png: expected a picture"):
        source.image(1)


def test_a_loop_of_links_ends_and_links_are_followed(folder: Fill) -> None:
    root = folder({"a/1.png": None})
    elsewhere = folder({"2.png": None}, "elsewhere")
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "b").symlink_to(elsewhere, target_is_directory=True)
    source = open_source(root)
    assert names(source) == ["a/1.png", "b/2.png"]
    assert source.notes == ("1 folder reached again by links, read once: a/loop",)


def test_files_that_cannot_be_opened_are_broken_pictures(folder: Fill) -> None:
    root = folder({"a.png": None})
    (root / "b.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "c.png")
    source = open_source(root)
    assert len(source) == 3
    with pytest.raises(DataError, match=r"^b\.png: cannot be read \(No such file or directory\)"):
        source.image(1)
    with pytest.raises(DataError, match=r"^c\.png: expected a file, came a device or pipe"):
        source.image(2)


def test_a_file_beyond_the_limit_is_not_read_whole(folder: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.data.folder.MAX_BYTES", 50)
    with pytest.raises(DataError, match=r"^a\.png: expected at most 50 bytes, came more"):
        open_source(folder({"a.png": None})).image(0)


def test_names_that_do_not_print_are_escaped(folder: Fill) -> None:
    root = folder({"a\nb.png": None})
    (root / os.fsdecode(b"\xff.png")).write_bytes(encode(noise(2, 2)))
    source = open_source(root)
    assert names(source) == [r"'a\nb.png'", r"'\udcff.png'"]
    assert source.image(1).size == (2, 2)


def test_the_fingerprint_follows_what_matters(folder: Fill) -> None:
    files: dict[str, object] = {"cat/1.png": b"1", "dog/2.png": b"22", "dog/2.txt": "a dog"}
    prints = {
        open_source(folder(changed, f"version{i}")).fingerprint
        for i, changed in enumerate(
            [
                files,
                {**files, "cat/1.png": b"12"},
                {**files, "dog/2.txt": "a hound"},
                {**files, "dog/3.png": b"3"},
                {"dot/1.png": b"1", "dog/2.png": b"22", "dog/2.txt": "a dog"},
            ]
        )
    }
    assert len(prints) == 5 and all(len(one) == 64 for one in prints)
    same = open_source(folder({**files, "notes.pdf": "x"}, "moved"))
    assert same.fingerprint in prints
