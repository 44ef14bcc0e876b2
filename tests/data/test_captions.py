"""Captions by metadata files and text files, and the notes on missing ones."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
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
    assert open_source(root).notes == (
        "1 of 2 pictures has no caption: b.jpg",
        "1 text that no picture answers to: README.txt",
    )


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


def test_caption_files_are_read_in_any_spelling_of_their_names(folder: Fill) -> None:
    rows = [{"file_name": "a.png", "text": "a cat"}]
    for i, (name, content) in enumerate(
        {
            "Metadata.CSV": "file_name,text\na.png,a cat\n",
            "METADATA.JSONL": rows,
            "metadata.json": json.dumps(rows),
            "Metadata.json": json.dumps({"a.png": {"caption": "a cat"}}),
            "metadata.JSON": json.dumps({"a.png": "a cat"}),
            "a.TXT": "a cat",
        }.items()
    ):
        source = open_source(folder({"a.png": None, name: content}, f"version {i}"))
        assert (source.captions(0), source.notes) == (("a cat",), ()), name
    lines = '{"file_name": "a.png", "text": "one"}\n{"file_name": "b.png", "text": "two"}\n'
    root = folder({"a.png": None, "b.png": None, "metadata.json": lines}, "lines")
    assert captions(root) == {"a.png": ("one",), "b.png": ("two",)}
    other = open_source(folder({"a.png": None, "metadata.json": '{"made": "1999", "by": ["x"]}'}, "other"))
    assert other.captions(0) == () and other.notes == ("1 text that no picture answers to: metadata.json",)


@pytest.mark.parametrize(
    ("picture", "named"),
    [
        ("cats/1.png", "cats\\1.png"),
        ("cats/1.png", ".\\cats\\1.png"),
        ("cafe\u0301.png", "café.png"),
        ("café.png", "cafe\u0301.png"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("CAFE\u0301/1.png", "café\\1.PNG"),
    ],
)
def test_a_picture_is_found_by_another_spelling_of_its_name(folder: Fill, picture: str, named: str) -> None:
    source = open_source(folder({picture: None, "metadata.jsonl": [{"file_name": named, "text": "a cat"}]}))
    assert source.captions(0) == ("a cat",) and source.notes == ()


def test_a_name_as_it_is_spelled_goes_before_one_spelled_alike(folder: Fill) -> None:
    rows = [{"file_name": "A.png", "text": "large"}, {"file_name": "a.png", "text": "small"}]
    root = folder({"a.png": None, "A.png": None, "metadata.jsonl": rows})
    assert captions(root) == {"A.png": ("large",), "a.png": ("small",)}
    root = folder({"a.png": None, "A.png": None, "metadata.jsonl": [{"file_name": "a.PNG", "text": "x"}]}, "two")
    assert captions(root) == {"A.png": (), "a.png": ()}, "either could be meant"
    root = folder({"a.png": None, "A.png": None, "a.txt": "small"}, "three")
    assert captions(root) == {"A.png": (), "a.png": ("small",)}
    root = folder({"IMG.JPG": None, "img.TXT": "one", "cafe\u0301.png": None, "café.txt": "two"}, "four")
    assert captions(root) == {"IMG.JPG": ("one",), "cafe\u0301.png": ("two",)}


def test_an_empty_caption_does_not_hide_another(folder: Fill) -> None:
    rows = [
        {"file_name": "a.png", "text": None, "caption": "a cat"},
        {"file_name": "b.png", "text": "", "captions": ["a dog", None]},
        {"file_name": "c.png", "text": [], "caption": "a list that is empty is an answer"},
    ]
    root = folder({"a.png": None, "b.png": None, "c.png": None, "metadata.jsonl": rows})
    assert captions(root) == {"a.png": ("a cat",), "b.png": ("a dog",), "c.png": ()}
    table = "File_Name, text , caption\na.png, , a cat\nb.png, a dog,\n,,\n"
    root = folder({"a.png": None, "b.png": None, "metadata.csv": table}, "table")
    assert captions(root) == {"a.png": ("a cat",), "b.png": ("a dog",)}


def test_spaces_around_fields_do_not_count(folder: Fill) -> None:
    table = 'file_name, text\na.png, "a cat, asleep" \n'.replace('" \n', '"\n')
    assert captions(folder({"a.png": None, "metadata.csv": table})) == {"a.png": ("a cat, asleep",)}


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_as_editors_save_it(folder: Fill, encoding: str, ends: str) -> None:
    table = 'file_name,text\na.png,"café,\n 😀"\n'.replace("\n", ends).encode(encoding)
    lines = '{"file_name": "b.png", "text": "thé"}\n\n{"file_name": "b.png", "text": "tea"}\n'
    files = {"metadata.csv": table, "metadata.jsonl": lines.replace("\n", ends).encode(encoding)}
    files["c.txt"] = f"eau{ends}{ends}water{ends}".encode(encoding)
    root = folder({"a.png": None, "b.png": None, "c.png": None, **files})
    assert captions(root) == {"a.png": ("café,\n 😀",), "b.png": ("thé", "tea"), "c.png": ("eau", "water")}


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"metadata.jsonl": b" " * 3_000}, r"metadata\.jsonl: expected at most 2,000 bytes"),
        (
            {"metadata.csv": b"x\n" * 500},
            r"metadata\.csv: expected at most 400 lines for 1 picture, came 500; take out",
        ),
        ({"metadata.csv": b"x" * 600}, r"metadata\.csv line 1: expected at most 500 characters, came 600"),
        ({"metadata.csv": b"a\n" * 1_500}, r"metadata\.csv: expected at most 2,000 bytes"),
        (
            {"metadata.json": b"[" + b"{}," * 120 + b"{}]"},
            r"metadata\.json: expected at most 200 values, came about 242",
        ),
        (
            {"metadata.jsonl": b'{"x": "' + b"x" * 900 + b'"}'},
            r"metadata\.jsonl line 1: expected at most 500 characters",
        ),
        (
            {"metadata.jsonl": [{"file_name": "a.png", "text": [str(i) for i in range(60)]}]},
            r"line 1: expected at most 50 captions of a\.png; take some out",
        ),
    ],
)
def test_texts_are_bounded_before_they_are_worked_on(
    folder: Fill, monkeypatch: pytest.MonkeyPatch, files: dict[str, object], text: str
) -> None:
    bounds = {"captions.MAX_METADATA_BYTES": 2_000, "captions.MAX_CAPTIONS": 50, "rows.MAX_ROW": 500}
    for name, bound in (bounds | {"rows.MAX_VALUES": 200, "captions.SPARE_LINES": 300}).items():
        monkeypatch.setattr(f"sfumato.data.{name}", bound)
    with pytest.raises(DataError, match=text):
        open_source(folder({"a.png": None, **files}))


def test_a_text_file_that_is_no_caption_is_passed_over(folder: Fill) -> None:
    many = open_source(folder({"a.png": None, "a.txt": "a\n" * 1_001}))
    assert many.captions(0) == ()
    assert many.notes == ("1 caption file passed over: a.txt (a.txt: expected at most 1,000 lines, a caption each)",)
    long = open_source(folder({"a.png": None, "a.txt": "a" * 300_000}, "long"))
    assert "passed over: a.txt (a.txt: expected at most 262,144 bytes, came more" in long.notes[0]
    wide = open_source(folder({"a.png": None, "a.txt": "wide".encode("utf-16-le")}, "wide"))
    assert "(a.txt: expected text, came zero bytes; save it as UTF-8)" in wide.notes[0]


def test_half_an_emoji_is_mended_and_noted(folder: Fill) -> None:
    row = '{"file_name": "a.png", "text": "half \\ud83d"}\n{"file_name": "b.png", "text": "\\ud83d\\ude00"}'
    source = open_source(folder({"a.png": None, "b.png": None, "metadata.jsonl": row}))
    assert [source.captions(i) for i in (0, 1)] == [("half \ufffd",), ("😀",)]
    assert source.notes == ("1 picture with half a character in a caption: a.png",)


@pytest.mark.parametrize("trials", [150, pytest.param(20_000, marks=pytest.mark.release)])
@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("metadata.csv", 'file_name,text\na.png,"a cat, ""Tom"", é"\nb.png, 😀\n'),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": ["é", null]}\n{"file_name": "b.png", "caption": "\\ud83d"}\n',
        ),
        ("metadata.json", '[{"file_name": "a.png", "text": "é"}, {"file_name": "b.png", "text": ["x", "y"]}]'),
        ("a.txt", "café\r\n😀\n"),
    ],
)
def test_mutated_texts_give_captions_or_a_typed_error(folder: Fill, name: str, whole: str, trials: int) -> None:
    random = np.random.default_rng(0)
    root = folder({"a.png": b"1", "b.png": b"2"})
    signs = np.frombuffer(b"\x00\xff\xfe\xef,\"'\n\r{}[]:\\1-", dtype=np.uint8)
    for trial in range(trials):
        data = np.frombuffer(whole.encode("utf-16" if trial % 5 == 4 else "utf-8"), dtype=np.uint8).copy()
        places = random.integers(0, len(data), size=random.integers(1, 5))
        data[places] = random.choice(signs, size=len(places)) if trial % 2 else random.integers(0, 256, len(places))
        (root / name).write_bytes(data.tobytes()[: len(data) - (trial % 3) * int(random.integers(0, 20))])
        try:
            source = open_source(root)
        except DataError as error:
            assert "\n" not in str(error) and len(str(error)) < 500
        else:
            "".join(text for i in range(2) for text in source.captions(i)).encode()


def test_without_any_caption_there_is_no_note(folder: Fill) -> None:
    assert open_source(folder({"a.png": None, "b.png": None})).notes == ()


def test_a_text_file_in_another_encoding_is_a_note(folder: Fill) -> None:
    root = folder({"a.png": None, "a.txt": b"caf\xe9", "b.png": None, "b.txt": "café"})
    assert captions(root) == {"a.png": (), "b.png": ("café",)}
    wanted = "expected UTF-8, or UTF-16 with its mark, came other bytes (unexpected end of data); save it as UTF-8"
    assert open_source(root).notes[0] == f"1 caption file passed over: a.txt (a.txt line 1: {wanted})"


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
        (
            "metadata.jsonl",
            b"{}\n\xff{",
            r"metadata\.jsonl line 2: expected UTF-8, or UTF-16 with its mark, came other",
        ),
        ("metadata.csv", "name,text\na.png,x\n", r"metadata\.csv line 2: expected 'file_name'.* the keys name, text"),
        ("metadata.csv", "file_name,text\na.png," + "x" * 200_000, "line 2: .* field larger than field limit"),
        (
            "metadata.csv",
            "file_name,text\na.png,a cat, asleep\n",
            r"^metadata\.csv line 2: expected 2 fields, came 3; put the caption in quotes$",
        ),
        (
            "metadata.csv",
            "file_name,text\n\na.png\n",
            r"^metadata\.csv line 3: expected 2 fields, came 1; give each row",
        ),
        ("metadata.csv", 'file_name,text\nb.png,x\na.png,"a\nb.png,y\n', r"metadata\.csv line 3: .* unexpected end of"),
        (
            "metadata.csv",
            'file_name,text\na.png,"a" cat\n',
            r"metadata\.csv line 2: expected fields with closed quotes",
        ),
        (
            "metadata.csv",
            "file_name,text,Text\na.png,x,y\n",
            r"line 1: expected columns of names that differ, came 'te",
        ),
        ("metadata.csv", b"file_name,text\r\na.png,x\r\nb.png,caf\xe9\r\n", "metadata.csv line 3: expected UTF-8"),
        ("metadata.csv", b"\xff\xfea\x00\x00\xd8b\x00", "metadata.csv line 1: expected UTF-8, or UTF-16 with its mark"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": ' + "9" * 5000 + "}", "no JSON in line 1"),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": ' + "9" * 4000 + "}",
            r"list of captions, came 9{90,}\.\.\.;",
        ),
        ("metadata.jsonl", '{"' + "k" * 5000 + '": 1}', "came the keys k+…k+; add"),
        ("metadata.json", '[{"file_name": "a.png"}, 3]', r"metadata\.json row 2: expected 'file_name' .* came int"),
        ("metadata.json", "[" * 100_000, r"metadata\.json: expected .* no JSON in line 1"),
    ],
)
def test_metadata_that_cannot_be_understood_is_an_error(folder: Fill, name: str, content: object, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        open_source(folder({"a.png": None, name: content}))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
