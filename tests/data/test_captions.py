"""Captions by metadata files and text files, and the notes on what is missing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sfumato.data import open_source
from sfumato.errors import DataError

Fill = Callable[..., Path]


def captions(root: Path) -> dict[str, tuple[str, ...]]:
    source = open_source(root)
    return {source.name(i): source.captions(i) for i in range(len(source))}


def test_json_lines_with_one_or_several_captions(folder: Fill) -> None:
    rows = [
        {"file_name": "a.png", "text": " a cat "},
        {"file_name": "b.png", "caption": ["a dog", "a hound", "a dog", ""]},
        {"file_name": "c.png", "text": None, "other": 3},
    ]
    root = folder({"a.png": None, "b.png": None, "c.png": None, "metadata.jsonl": rows})
    assert captions(root) == {"a.png": ("a cat",), "b.png": ("a dog", "a hound"), "c.png": ()}
    assert open_source(root).notes == ("1 of 3 pictures has no caption: c.png",)


def test_csv_with_quotes_marks_and_either_column(folder: Fill) -> None:
    text = 'file_name,text\na.png,"a cat, asleep\non a mat"\nb.png,\n'
    root = folder({"a.png": None, "b.png": None, "metadata.csv": "\ufeff" + text})
    assert captions(root) == {"a.png": ("a cat, asleep\non a mat",), "b.png": ()}
    root = folder({"a.png": None, "metadata.csv": "caption,file_name\r\nhello,a.png\r\n"}, "other")
    assert captions(root) == {"a.png": ("hello",)}


def test_rows_for_one_picture_add_up_and_names_are_below_the_metadata_file(folder: Fill) -> None:
    top = [{"file_name": "x/a.png", "text": "one"}, {"file_name": "./x/a.png", "text": "two"}]
    below = [{"file_name": "a.png", "text": "three"}]
    root = folder({"x/a.png": None, "metadata.jsonl": top, "x/metadata.jsonl": below})
    assert captions(root) == {"x/a.png": ("one", "two", "three")}
    assert open_source(root).classes == ("x",)


def test_a_text_file_beside_holds_a_caption_a_line(folder: Fill) -> None:
    root = folder({"a.png": None, "a.txt": "a cat\n\n a tabby \n", "b.jpg": None, "b.txt": " ", "README.txt": "hello"})
    assert captions(root) == {"a.png": ("a cat", "a tabby"), "b.jpg": ()}
    assert open_source(root).notes == ("1 of 2 pictures has no caption: b.jpg",)


def test_metadata_goes_before_the_text_file(folder: Fill) -> None:
    rows = [{"file_name": "a.png", "text": "from metadata"}]
    root = folder({"a.png": None, "a.txt": "from text", "b.png": None, "b.txt": "text", "metadata.jsonl": rows})
    assert captions(root) == {"a.png": ("from metadata",), "b.png": ("text",)}


def test_a_unicode_line_separator_does_not_end_a_row(folder: Fill) -> None:
    row = '{"file_name": "a.png", "text": "one\u2028two"}'
    assert captions(folder({"a.png": None, "metadata.jsonl": row})) == {"a.png": ("one\u2028two",)}


def test_absent_pictures_and_missing_captions_are_notes(folder: Fill) -> None:
    rows = [{"file_name": name, "text": "x"} for name in ("a.png", "p.png", "q.png", "../r.png", "s.png")]
    source = open_source(folder({"a.png": None, "b.png": None, "c.png": None, "metadata.jsonl": rows}))
    assert source.notes == (
        "4 pictures named in metadata.jsonl are absent: p.png, q.png, ../r.png, ...",
        "2 of 3 pictures have no caption: b.png, c.png",
    )
    only = open_source(folder({"a.png": None, "metadata.jsonl": [{"file_name": "b.png", "text": "x"}]}, "only"))
    assert only.notes[1] == "1 of 1 picture has no caption: a.png" and only.captions(0) == ()


def test_without_any_caption_there_is_no_note(folder: Fill) -> None:
    assert open_source(folder({"a.png": None, "b.png": None})).notes == ()


def test_a_text_file_in_another_encoding_is_a_note(folder: Fill) -> None:
    root = folder({"a.png": None, "a.txt": b"caf\xe9", "b.png": None, "b.txt": "café"})
    assert captions(root) == {"a.png": (), "b.png": ("café",)}
    assert open_source(root).notes[0] == "1 caption file passed over, not readable as UTF-8: a.txt"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("metadata.jsonl", '{"file_name": "a.png"}\n{oops', r"metadata\.jsonl: expected a row .* no JSON in line 2"),
        ("metadata.jsonl", "[" * 100_000, "no JSON in line 1"),
        ("metadata.jsonl", "[1]", r"metadata\.jsonl line 1: expected 'file_name' with a picture's name, came list"),
        ("metadata.jsonl", '{"filename": "a.png"}', r"line 1: expected 'file_name' .*, came the keys filename; add"),
        ("metadata.jsonl", '{"file_name": 3}', "line 1: expected 'file_name'"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": 3}', r"expected a caption or a list of captions, came 3"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": ["x", 3]}', r"came 'x', 3"),
        ("metadata.jsonl", b"\xff\xfe{", "expected UTF-8, came other bytes"),
        ("metadata.csv", "name,text\na.png,x\n", r"metadata\.csv line 2: expected 'file_name'.* the keys name, text"),
        ("metadata.csv", "file_name,text\na.png," + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_metadata_that_cannot_be_understood_is_an_error(folder: Fill, name: str, content: object, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        open_source(folder({"a.png": None, name: content}))
    assert "\n" not in str(caught.value)
