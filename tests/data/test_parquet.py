"""Parquet files: the columns that are read, their contents, and damage."""

import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_pictures import encode, image, noise

from sfumato.data import open_source, parquet, prepare
from sfumato.data.table import repr_chunks, sha256_of
from sfumato.errors import DataError, InputError

Write = Callable[..., Path]
PICTURES = [encode(noise(6, 4, seed=i)) for i in range(7)]
CLOTHING = Path(__file__).parents[3] / "shared" / "data" / "clothing_photos" / "clothing_short128.parquet"


def hub_metadata(**features: Any) -> dict[str, str]:
    return {"huggingface": json.dumps({"info": {"features": features}})}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes the columns given, with `n` pictures unless one of them is called image."""

    def to_file(name: str = "x.parquet", /, n: int = 3, metadata: Any = None, rows: int = 2, **columns: Any) -> Path:
        table = pa.table({"image": pa.array(PICTURES[:n], pa.binary())} | columns)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / name, row_group_size=rows)
        return tmp_path / name

    return to_file


def test_pictures_come_back_in_order_whatever_the_groups(write: Write) -> None:
    for rows in (1, 2, 3, 100):
        pictures = prepare(open_source(write(n=7, rows=rows)))
        np.testing.assert_array_equal(
            pictures.stored, [np.moveaxis(np.asarray(noise(6, 4, seed=i)), 2, 0) for i in range(7)]
        )
        assert pictures.names == tuple(f"x.parquet[{i}]" for i in range(7))
        assert pictures.labels is None and not any(pictures.captions) and pictures.notes == ()


def test_rows_may_be_asked_for_in_any_order_and_two_groups_are_held_at_least(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    monkeypatch.setattr(parquet, "HELD_BYTES", 0)
    read = parquet._read_group
    monkeypatch.setattr(parquet, "_read_group", lambda file, g, column: (reads.append(g), read(file, g, column))[1])
    source = open_source(write(n=7, rows=2))
    for i in (6, 0, 1, 6, 3, 2, 0, 6):
        np.testing.assert_array_equal(np.asarray(image(source, i)), np.asarray(noise(6, 4, seed=i)))
    assert reads == [3, 0, 1, 0, 3]


def test_the_struct_of_the_hub_with_its_classes(write: Write) -> None:
    cells = pa.array([{"bytes": data, "path": "a.png"} for data in PICTURES[:3]])
    names = hub_metadata(image={"_type": "Image"}, label={"_type": "ClassLabel", "names": ["cat", "dog", "eel"]})
    source = open_source(write(image=cells, label=[1, 0, 1], metadata=names))
    np.testing.assert_array_equal(np.asarray(image(source, 2)), np.asarray(noise(6, 4, seed=2)))
    assert source.classes == ("cat", "dog", "eel") and [source.label(i) for i in range(3)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("label", "metadata", "classes", "labels"),
    [
        (["dog", "cat", "dog"], None, ("cat", "dog"), [1, 0, 1]),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), None, ("cat", "dog"), [1, 0, 1]),
        (pa.array([2, 0, 2], pa.uint8()), None, ("0", "1", "2"), [2, 0, 2]),
        ([1, 0, 1], hub_metadata(label={"names": [3, 4]}), ("0", "1"), [1, 0, 1]),
        ([1, 0, 1], {"huggingface": "[" * 100_000}, ("0", "1"), [1, 0, 1]),
    ],
)
def test_labels(write: Write, label: Any, metadata: Any, classes: tuple[str, ...], labels: list[int]) -> None:
    for column in ("label", "class"):
        source = open_source(write(**{column: label}, metadata=metadata))
        assert source.classes == classes and [source.label(i) for i in range(3)] == labels


@pytest.mark.parametrize("label", [["dog", None, "cat"], [0, -1, 1]])
def test_a_picture_without_a_label_leaves_no_classes(write: Write, label: list[Any]) -> None:
    source = open_source(write(label=label))
    assert source.classes == () and source.label(0) is None
    assert source.notes == ("no classes: 1 of 3 pictures has no label: x.parquet[1]",)


def test_captions_are_a_string_or_several_and_stand_as_often_as_written(write: Write) -> None:
    source = open_source(write(caption=[" a cat ", None, ""]))
    assert [source.captions(i) for i in range(3)] == [("a cat",), (), ()]
    assert source.notes == ("2 of 3 pictures have no caption: x.parquet[1], x.parquet[2]",)
    texts = [["a cat", "a cat", "a tabby"], [], ["a dog", None, " "]]
    source = open_source(write(text=texts, caption=["x", "y", "z"], name=["one", "two", None]))
    assert [source.captions(i) for i in range(3)] == [("a cat", "a cat", "a tabby"), (), ("a dog",)]
    assert source.notes == ("1 of 3 pictures has no caption: two",)
    assert [source.name(i) for i in range(3)] == ["one", "two", "x.parquet[2]"]


def test_a_column_of_pictures_is_found_by_name_or_because_there_is_no_other(write: Write, tmp_path: Path) -> None:
    masks = [encode(noise(2, 2, seed=i)) for i in range(3)]
    assert image(open_source(write(mask=masks)), 0).size == (6, 4)
    pq.write_table(
        pa.table({"photo": pa.array(PICTURES, pa.large_binary()), "image": ["a.png"] * 7}), tmp_path / "y.parquet"
    )
    assert image(open_source(tmp_path / "y.parquet"), 0).size == (6, 4)


def test_a_folder_of_files_is_read_in_order_and_its_training_split_alone(write: Write, tmp_path: Path) -> None:
    write("all/b.parquet", n=1, label=["dog"])
    write("all/a.parquet", n=2, label=["cat", "eel"])
    source = open_source(tmp_path / "all")
    assert [source.name(i) for i in range(3)] == ["a.parquet[0]", "a.parquet[1]", "b.parquet[0]"]
    assert source.classes == ("cat", "dog", "eel") and [source.label(i) for i in range(3)] == [0, 2, 1]
    np.testing.assert_array_equal(np.asarray(image(source, 2)), np.asarray(noise(6, 4, seed=0)))

    for name in ("train-1-of-2.parquet", "test.parquet", "train-0-of-2.parquet", ".hidden.txt"):
        write(f"split/{name}", n=1)
    source = open_source(tmp_path / "split")
    assert [source.name(i) for i in range(len(source))] == ["train-0-of-2.parquet[0]", "train-1-of-2.parquet[0]"]
    assert source.notes == ("1 file beside the training split passed over: test.parquet",)


def test_a_folder_that_also_holds_pictures_is_a_folder_of_pictures(write: Write) -> None:
    folder = write("mixed/a.parquet").parent
    (folder / "a.png").write_bytes(PICTURES[0])
    assert open_source(folder).notes == ("1 file of other kinds passed over: a.parquet",)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"label": ["a"]}, r"a column 'label' of int64, as in a\.parquet, came string; convert it or take it out$"),
        ({}, r"a column 'label' of int64, as in a\.parquet, came none"),
        ({"label": [0], "metadata": hub_metadata(label={"names": ["cat"]})}, r"the classes of a\.parquet, came others"),
    ],
)
def test_files_of_a_folder_must_have_the_same_columns(write: Write, columns: dict[str, Any], text: str) -> None:
    write("all/a.parquet", n=1, label=[0], metadata=hub_metadata(label={"names": ["dog"]}))
    with pytest.raises(DataError, match=rf"b\.parquet: expected {text}"):
        open_source(write("all/b.parquet", n=1, **columns).parent)


SPELLINGS = [
    ("text", pa.nulls(1)),
    ("text", pa.array(["a"], pa.string())),
    ("text", pa.array(["a"], pa.large_string())),
    ("text", pa.array(["a"]).dictionary_encode()),
    ("text", pa.array(["a"], pa.string_view())),
    ("text", pa.array([["a"]])),
    ("text", pa.array([["a"]], pa.large_list(pa.large_string()))),
    ("label", pa.array([1], pa.uint8())),
    ("label", pa.array([1], pa.int64())),
    ("label", pa.array([1], pa.int16()).dictionary_encode()),
    ("name", pa.nulls(1)),
    ("name", pa.array(["a"], pa.large_string())),
    ("image", pa.array(PICTURES[:1], pa.large_binary())),
    ("image", pa.array([{"path": "a", "bytes": PICTURES[0]}])),
    ("image", pa.array([{"bytes": PICTURES[0], "path": None}])),
]


@pytest.mark.parametrize("first", [(), ("text", "name"), ("image",)])
@pytest.mark.parametrize(("column", "values"), SPELLINGS, ids=str)
def test_shards_that_differ_in_spelling_are_one(write: Write, first: tuple[str, ...], column: str, values: Any) -> None:
    plain = {"image": pa.array(PICTURES[:1], pa.binary()), "text": ["b"], "label": [0], "name": ["c"]}
    columns = {key: values if key == column else value for key, value in plain.items()}
    names = ("a", "b") if column in first else ("b", "a")
    write(f"all/{names[0]}.parquet", **plain, metadata=hub_metadata(label={"names": ["x", "y"]}))
    source = open_source(write(f"all/{names[1]}.parquet", **columns).parent)
    assert len(source) == 2 and source.classes == ("x", "y")
    other = ("a.parquet", "b.parquet").index(f"{names[1]}.parquet")
    assert image(source, other).size == (6, 4)
    assert source.captions(1 - other) == ("b",) and source.name(1 - other) == "c"
    assert source.captions(other) == ((() if values.null_count else ("a",)) if column == "text" else ("b",))
    assert source.label(other) == (1 if column == "label" else 0)


def test_an_empty_column_does_not_hide_another(write: Write) -> None:
    assert open_source(write(text=pa.nulls(3))).captions(0) == ()
    source = open_source(write(text=pa.nulls(3), caption=["a", "b", None], label=pa.nulls(3), **{"class": [1, 0, 1]}))
    assert [source.captions(i) for i in range(3)] == [("a",), ("b",), ()] and source.classes == ("0", "1")
    source = open_source(write(text=["x", None, ""], caption=["a", "b", "c"]))
    assert [source.captions(i) for i in range(3)] == [("x",), ("b",), ("c",)]


def test_the_case_of_a_column_does_not_count(write: Write) -> None:
    source = open_source(write(Text=["a", "b", "c"], LABEL=[0, 1, 0], Name=["x", "y", "z"]))
    assert source.captions(1) == ("b",) and source.label(1) == 1 and source.name(1) == "y"


@pytest.mark.parametrize("twice", ["image", "text", "label"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, twice: str) -> None:
    columns = {"image": pa.array(PICTURES[:1]), "text": pa.array(["a"]), "label": pa.array([0])}
    table = pa.Table.from_arrays([*columns.values(), columns[twice]], names=[*columns, twice])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=rf"x\.parquet: expected one column '{twice}', came 2; rename or take out"):
        open_source(tmp_path / "x.parquet")


CARD = {"README.md": "# a card", ".gitattributes": "x", ".cache/huggingface/x.parquet": "x"}


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["data/train-00000-of-00002", "data/train-00001-of-00002", "data/test-00000-of-00001"], [0, 1]),
        (["train-00000-of-00001", "validation-00000-of-00001"], [0]),
        (["default/train/0000", "default/train/0001", "default/test/0000"], [0, 1]),
        (["default/partial-train/0000", "default/test/0000", "other/train/0000"], [0]),
        (["some/0000", "some/0001"], [0, 1]),
        (["train/a", "val/a"], [0]),
    ],
)
def test_a_clone_of_a_data_set_of_the_hub_is_found(
    write: Write, tmp_path: Path, files: list[str], taken: list[int]
) -> None:
    for name, text in CARD.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text(text)
    for i, name in enumerate(files):
        write(f"set/{name}.parquet", n=1, text=[str(i)])
    source = open_source(tmp_path / "set")
    assert [source.captions(i) for i in range(len(source))] == [(str(i),) for i in taken]
    rest = len(files) - len(taken)
    assert source.notes[:1] == () if not rest else source.notes[0].startswith(f"{rest} file")


def test_several_configurations_are_refused_and_named(write: Write, tmp_path: Path) -> None:
    for name in ("en/train-0", "fr/train-0"):
        write(f"set/{name}.parquet")
    with pytest.raises(
        InputError, match=r"set: expected the .parquet files of one data set, came those of 2: en, fr; name"
    ):
        open_source(tmp_path / "set")
    assert len(open_source(tmp_path / "set" / "fr")) == 3


def test_a_file_that_git_lfs_has_not_fetched_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(
        DataError, match=r"expected a Parquet file, came a pointer of Git LFS, whose files `git lfs pull`"
    ):
        open_source(tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), "dictionary", "list"])
def test_text_that_is_no_utf8_is_mended_and_noted(write: Write, kind: Any) -> None:
    data = pa.array([b"caf\xe9", "café".encode(), b"\xed\xa0\xbd"], pa.binary())
    text: Any = pa.Array.from_buffers(pa.string(), 3, data.buffers())
    if kind == "dictionary":
        text = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), text)
    elif kind == "list":
        text = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), text)
    else:
        text = pa.Array.from_buffers(pa.large_string(), 3, data.cast(pa.large_binary()).buffers()).cast(
            kind, safe=False
        )
    source = open_source(write(text=text, label=text if kind != "list" else None or [0, 1, 0]))
    assert [source.captions(i)[0] for i in range(3)] == ["caf\ufffd", "café", "\ufffd\ufffd\ufffd"]
    assert "2 pictures with half a character in a caption: x.parquet[0], x.parquet[2]" in source.notes
    if kind != "list":
        assert set(source.classes) == {"caf\ufffd", "café", "\ufffd\ufffd\ufffd"}


def test_a_text_that_stands_in_every_row_is_held_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    tracemalloc.start()
    path = write(image=pa.array([i.to_bytes(4) for i in range(2000)]), text=["é" * 5_000] * 2000, rows=2000)
    assert len(open_source(path).captions(1999)[0]) == 5_000
    monkeypatch.setattr(parquet, "MAX_TEXT_BYTES", 2**20)
    with pytest.raises(DataError, match=r"x\.parquet: expected at most 1 MiB of text, came more; split it"):
        open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("texts", [None, (), (("a",),), ((), ("é", "'")), (("a",), ("b",), ())])
def test_a_digest_by_pieces_is_that_of_the_whole(texts: Any) -> None:
    assert sha256_of("x", repr_chunks((1, 2), texts=texts)) == sha256_of("x", repr(((1, 2), texts)))


@pytest.mark.parametrize("trials", [250, pytest.param(20_000, marks=pytest.mark.release)])
def test_flipped_bytes_give_pictures_or_a_typed_error(write: Write, tmp_path: Path, trials: int) -> None:
    """Footers above all; among these trials are some for which pyarrow ends the process when asked for a column."""
    random = np.random.default_rng(0)
    path = write(n=5, text=["a", "é", None, "d", "e"], label=[0, 1, 0, 1, 1], rows=2)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4].tobytes(), "little")
    for trial in range(trials):
        data = whole.copy()
        first = footer if trial % 3 else 0
        data[random.integers(first, len(data), size=random.integers(1, 4))] = random.integers(0, 256)
        (tmp_path / "y.parquet").write_bytes(data.tobytes())
        try:
            prepare(open_source(tmp_path / "y.parquet"), size=(4, 4))
        except (DataError, InputError) as error:
            assert "\n" not in str(error)


def test_broken_pictures_and_empty_rows_are_left_out_and_named(write: Write) -> None:
    structs = pa.array([None, {"bytes": None, "path": "/etc/hostname"}, {"bytes": PICTURES[2], "path": None}])
    for cells in (pa.array([b"junk", None, PICTURES[2]]), structs):
        pictures = prepare(open_source(write(image=cells)))
        np.testing.assert_array_equal(pictures.stored[0], np.moveaxis(np.asarray(noise(6, 4, seed=2)), 2, 0))
        assert pictures.notes == ("2 of 3 pictures were left out as broken: x.parquet[0], x.parquet[1]",)
        reason = "expected a picture's bytes, came null; fill the row or take it out"
        assert pictures.skipped[1].reason == reason


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (
            {"image": ["a.png"]},
            r"x\.parquet: expected one column of encoded pictures .*, came only image: string; name",
        ),
        ({"a": [b"x"], "b": [b"x"], "image": [1]}, r"one column of encoded pictures .*, came 2: a, b; name the pict"),
        ({"image": pa.array([], pa.binary())}, "expected at least one picture, came no rows; add some"),
        ({"text": [3]}, r"'text': expected strings or lists of strings as captions, came int64"),
        ({"captions": [[3]]}, r"'captions': expected strings or lists of strings as captions, came list<.*int64>"),
        ({"label": [0.5]}, r"'label': expected strings or whole numbers as labels, came double"),
        ({"label": [-2]}, r"'label': expected labels 0 to 99999, came -2 to -2; number classes from 0"),
        ({"label": [10**6]}, r"expected labels 0 to 99999, came 1000000 to 1000000"),
        ({"label": [2], "metadata": hub_metadata(label={"names": ["a", "b"]})}, "expected labels 0 to 1, came 2 to 2"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(write: Write, columns: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        open_source(write(n=1, **columns))
    assert "\n" not in str(caught.value)


def test_damaged_files_are_named(write: Write, tmp_path: Path) -> None:
    whole = write(n=7, text=["x"] * 7).read_bytes()
    broken = tmp_path / "broken.parquet"
    for data in (b"", b"PAR1", b"junk" * 100, whole[:-20], b"PAR1" + b"\0" * (len(whole) - 4)):
        broken.write_bytes(data)
        with pytest.raises(
            DataError, match=r"broken\.parquet: expected a whole Parquet file, came damaged data \("
        ) as caught:
            open_source(broken)
        assert "\n" not in str(caught.value)


def test_a_damaged_group_is_left_out_and_the_others_stay(write: Write) -> None:
    path = write(n=6, rows=2)
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = b"\xff" * 60
    path.write_bytes(data)
    pictures = prepare(open_source(path))
    assert pictures.names == tuple(f"x.parquet[{i}]" for i in (0, 1, 4, 5))
    assert "expected a whole Parquet file, came damaged data" in pictures.skipped[0].reason


def test_groups_too_large_to_hold_are_refused_before_they_are_read(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 600)
    assert len(open_source(write(n=7, rows=1))) == 7
    with pytest.raises(DataError, match=r"at most 600 B in a group of rows, came .*smaller row_group_size$"):
        open_source(write(n=7, rows=7))


def test_more_rows_than_bytes_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"expected a byte a row at least, came 100,000 rows; fetch it again$"):
        open_source(write(image=pa.nulls(100_000, pa.binary()), rows=100_000))


def test_the_fingerprint_follows_pictures_captions_and_labels_but_not_the_place(write: Write) -> None:
    plain = {"text": ["a", "b", "c"], "label": [0, 1, 0]}
    first = open_source(write(**plain)).fingerprint
    assert open_source(write("other/y.parquet", **plain)).fingerprint == first
    changed = [{"text": ["a", "b", "d"]}, {"label": [0, 1, 1]}, {"image": [*PICTURES[:2], encode(noise(6, 5))]}]
    assert len({open_source(write(**plain | change)).fingerprint for change in changed} | {first}) == 4


def test_without_pyarrow_the_error_names_the_extra(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"expected pyarrow, which is not installed: pip install sfumato\[parquet\]$"):
        open_source(path)


@pytest.mark.skipif(not CLOTHING.exists(), reason="needs the clothing photos")
def test_photos_of_clothing() -> None:
    source = open_source(CLOTHING)
    assert len(source) == 3781 and len(source.classes) == 10 and source.notes == ()
    i = source.classes.index("dress")
    dress = next(j for j in range(3781) if source.label(j) == i)
    assert source.captions(dress) == ("a photo of a dress",) and min(image(source, dress).size) == 128
