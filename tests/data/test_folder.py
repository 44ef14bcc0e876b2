"""A folder of pictures: order, classes, files passed over, links."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from small_pictures import encode, image, noise

from sfumato.data import DataSource, open_source
from sfumato.data.folder import read_file
from sfumato.errors import DataError

Fill = Callable[..., Path]


def names(source: DataSource) -> list[str]:
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


def test_a_few_strays_do_not_cost_the_classes(folder: Fill) -> None:
    files = {"stray.png": None, "cat/1.png": None, "cat/2.png": None, "dog/1.png": None, "dog/2.png": None}
    source = open_source(folder(files))
    assert source.classes == ("cat", "dog") and names(source) == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]
    assert source.notes == (
        "1 picture at the top, beside 2 folders of classes, left out: stray.png; put such pictures into a folder of"
        " their class",
    )
    most = open_source(folder(dict.fromkeys(["1.png", "2.png", "cat/1.png", "dog/1.png"]), "most"))
    assert most.classes == () and len(most) == 4
    assert most.notes == ("no classes: 2 pictures at the top beside the sub-folders cat, dog",)


def test_pictures_with_captions_are_no_strays(folder: Fill) -> None:
    source = open_source(folder({"1.png": None, "1.txt": "x", "cat/1.png": None, "dog/1.png": None, "dog/2.png": None}))
    assert source.classes == () and len(source) == 4


def test_files_of_the_system_are_no_data(folder: Fill) -> None:
    left = ["@eaDir/1.png/SYNO.png", "cat/@eaDir/1.png", "lost+found/x.png", "$RECYCLE.BIN/x.png", "__MACOSX/._1.png"]
    files = {"cat/1.png": None, "dog/1.png": None, "cat/Thumbs.db": "x", "desktop.ini": "x", "dog/.DS_Store": "x"}
    source = open_source(folder({**files, **dict.fromkeys(left)}))
    assert source.classes == ("cat", "dog") and len(source) == 2 and source.notes == ()


def test_folders_that_look_like_splits_are_pointed_out(folder: Fill) -> None:
    source = open_source(folder({"train/1.png": None, "test/2.png": None}))
    assert source.notes == ("the classes test, train look like splits: to train on one, name its folder",)


def test_hidden_files_are_passed_over_and_others_counted(folder: Fill) -> None:
    files = {"a.PNG": None, ".b.png": None, ".git/c.png": None, "d.pdf": "x", "e.json": "{}", "f.csv": "", "g.txt": "x"}
    source = open_source(folder(files))
    assert names(source) == ["a.PNG"]
    assert source.notes == (
        "1 file of other kinds passed over: d.pdf",
        "3 texts that no picture answers to: e.json, f.csv, g.txt",
    )


def test_a_folder_without_pictures_is_an_error_that_lists_its_files(folder: Fill) -> None:
    root = folder({"a.pdf": "x", "b.mov": "x", "c.pdf": "x", "d.pdf": "x"})
    came = r"came none \(4 files of other kinds passed over: a.pdf, b.mov, c.pdf, \.\.\.\); add some"
    with pytest.raises(DataError, match=r"pictures: expected pictures \(.bmp .gif .*\), " + came):
        open_source(root)
    (root.parent / "empty").mkdir()
    with pytest.raises(DataError, match="came none; add some"):
        open_source(root.parent / "empty")


def test_a_picture_is_read_and_a_broken_one_named(folder: Fill) -> None:
    source = open_source(folder({"a.png": encode(noise(6, 4)), "b/c.png": b"junk"}))
    assert image(source, 0).size == (6, 4)
    with pytest.raises(DataError, match=r"^b/c\.png: expected a picture"):
        image(source, 1)


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
        image(source, 1)
    with pytest.raises(DataError, match=r"^c\.png: cannot be read \(a device or pipe"):
        image(source, 2)


def test_a_file_beyond_the_limit_is_not_read_whole(folder: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.data.tree.MAX_BYTES", 50)
    with pytest.raises(DataError, match=r"^a\.png: expected at most 50 bytes, came more"):
        image(open_source(folder({"a.png": None})), 0)


def test_a_file_is_read_with_no_more_room_than_its_size(folder: Fill) -> None:
    source = open_source(folder({"a.png": None}))
    tracemalloc.start()
    image(source, 0)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_file_that_grows_is_read_whole(folder: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(noise(200, 200))
    root = folder({"a.png": data})
    status = os.stat(root / "a.png")
    small = os.stat_result((*status[:6], 10, *status[7:]))
    monkeypatch.setattr("os.fstat", lambda _: small)
    assert read_file(str(root / "a.png"), "a.png") == data


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "a.txt", "train-images-idx3-ubyte", "x.parquet"])
def test_a_pipe_in_the_place_of_a_file_holds_nothing_up(folder: Fill, name: str) -> None:
    root = folder({"a.png": None})
    os.mkfifo(root / name)
    try:
        assert len(open_source(root)) == 1
    except DataError as error:
        assert str(error) == f"{name}: cannot be read (a device or pipe, and not a file); mend it or take it out"


def test_class_folders_of_bytes_that_are_no_utf8_have_names_that_can_be_written(folder: Fill) -> None:
    root = folder({"tea/1.png": None, os.fsdecode(b"caf\xe9/1.png"): None})
    source = open_source(root)
    assert source.classes == ("caf\ufffd", "tea") and image(source, 0).size == (6, 4)
    assert source.notes == ("1 class name with bytes or halves that are no characters: caf\ufffd",)


def test_names_that_do_not_print_are_escaped(folder: Fill) -> None:
    root = folder({"a\nb.png": None})
    (root / os.fsdecode(b"\xff.png")).write_bytes(encode(noise(2, 2)))
    source = open_source(root)
    assert names(source) == [r"'a\nb.png'", r"'\udcff.png'"]
    assert image(source, 1).size == (2, 2)


def test_the_fingerprint_follows_paths_sizes_classes_and_captions(folder: Fill) -> None:
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
