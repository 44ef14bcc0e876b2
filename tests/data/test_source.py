"""One function opens every kind of data, and refuses others with a hint."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfumato.data import open_source, prepare
from sfumato.data.source import SHARDS
from sfumato.data.table import TableSource
from sfumato.errors import DataError, InputError, NotFoundError, SfumatoError

Fill = Callable[..., Path]


def test_the_digits_ship() -> None:
    pictures = prepare(open_source("digits"))
    assert pictures.stored.shape == (1797, 1, 8, 8)
    assert pictures.classes == tuple("0123456789")
    assert pictures.labels is not None and pictures.labels[:10].tolist() == list(range(10))
    levels = np.unique(pictures.stored)
    assert levels.tolist() == [round(v * 255 / 16) for v in range(17)]
    assert pictures.names[0] == "digits[0]"


def test_digits_without_scikit_learn_name_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"scikit-learn, which is not installed: pip install sfumato\[digits\]$"):
        open_source("digits")


def test_a_path_may_be_a_string_a_path_or_a_name(folder: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder({"a.png": None}, "digits")
    monkeypatch.chdir(root.parent)
    assert len(open_source(str(root))) == 1
    assert len(open_source("./digits")) == 1
    assert len(open_source(Path("digits"))) == 1
    assert len(open_source("digits")) == 1797


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("digit", r"came 'digit', which does not exist; did you mean 'digits'\? known: digits$"),
        (
            "no/such/folder",
            "a folder of pictures, a .zip of one, a .npz, a .parquet, an IDX .*, hub:OWNER/NAME or a name, came",
        ),
        ("", "came ''"),
        ("a\nb", "came .*a.*nb.*, which does not exist"),
        ("x" * 5000, "which does not exist"),
        ("\0", "which does not exist"),
        (3, "came 3"),
        (None, "came None"),
    ],
)
def test_other_places_are_refused(where: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError if "does not exist" in text else SfumatoError, match=text) as caught:
        open_source(where)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["notes.txt", "a pipe"])
def test_neither_file_nor_folder_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=rf"came '.*{name}', which is neither file nor folder"):
        open_source(tmp_path / name)


def test_quotes_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for where in ("x" * 5000, b"x" * 5000, "\udce9" * 5000):
        with pytest.raises(SfumatoError) as caught:
            open_source(where)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 400


def test_text_that_is_no_unicode_is_mended_and_noted(tmp_path: Path) -> None:
    """Half an emoji, as programs leave it that cut texts by UTF-16; two halves are one."""
    captions = np.array(["half \ud83d", "whole \ud83d\ude00", "plain"])
    arrays = {"images": np.zeros((3, 4, 4), np.uint8), "labels": np.array([0, 1, 0])}
    path = tmp_path / "a.npz"
    np.savez(path, captions=captions, classes=np.array(["caf\udce9", "tea"]), **arrays)
    source = open_source(path)
    assert source.classes == ("caf\ufffd", "tea")
    assert [source.captions(i) for i in range(3)] == [("half \ufffd",), ("whole 😀",), ("plain",)]
    assert source.notes == (
        "1 class name with bytes or halves that are no characters: caf\ufffd",
        "2 pictures with half a character in a caption: a[0], a[1]",
    )
    np.savez(path, classes=np.array(["caf\udce9", "caf\udce8"]), **arrays)
    with pytest.raises(DataError, match=r"a\.npz: expected classes that differ .* both read as caf.; rename one$"):
        open_source(path)


def test_a_file_of_another_kind_is_refused(folder: Fill) -> None:
    with pytest.raises(InputError, match=r"came a file of another kind: .*a\.png$"):
        open_source(folder({"a.png": None}) / "a.png")


def test_a_format_is_one_function_and_one_row(folder: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of files, each line a path: as one file, and as many in a folder."""

    def open_lists(paths: Any, medium: Any, where: str, notes: Any) -> TableSource:
        files = [Path(path).parent / line for path in paths for line in Path(path).read_text().split()]
        return TableSource(medium, tuple(file.name for file in files), lambda i: files[i].read_bytes(), "", notes=notes)

    monkeypatch.setitem(SHARDS, ".list", open_lists)
    folder({"a.png": None, "b.png": None})
    lists = folder({"1.list": "../pictures/b.png", "2.list": "../pictures/a.png"}, "lists")
    assert prepare(open_source(lists)).names == ("b.png", "a.png")
    assert prepare(open_source(lists / "2.list"), store="source").names == ("a.png",)
