"""Data sets of the Hugging Face Hub, by a stand-in of its library and, where it is installed, by itself."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_pictures import encode, noise

from sfumato.data import open_source, prepare
from sfumato.errors import InputError, NotFoundError

Calls = list[tuple[Any, ...]]
SPLITS = {"train": 4, "test": 2}


class Rows:
    """As much of a `datasets.Dataset` in Arrow's form as is used."""

    def __init__(self, table: pa.Table) -> None:
        self.table, self.features = table, SimpleNamespace(arrow_schema=table.schema)
        self.info = SimpleNamespace(dataset_size=table.nbytes)

    def __len__(self) -> int:
        return len(self.table)

    def select_columns(self, names: list[str]) -> "Rows":
        return Rows(self.table.select(names))

    def with_format(self, kind: str) -> "Rows":
        assert kind == "arrow"
        return self

    def __getitem__(self, key: int | slice) -> pa.Table:
        return self.table if isinstance(key, slice) else self.table.slice(key, 1)


def fill(folder: Path) -> None:
    """A data set as the Hub holds it; the last picture of train lies in a file, the one before is broken."""
    picture = encode(noise(6, 4, seed=9))
    (folder / "lone.png").write_bytes(picture)
    names = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "image": {"_type": "Image"}}
    names["text"] = {"_type": "Value", "dtype": "string"}
    for split, n in SPLITS.items():
        cells = [{"bytes": encode(noise(6, 4, seed=i)), "path": f"{i}.png"} for i in range(n)]
        if split == "train":
            cells[-2:] = [{"bytes": b"junk", "path": None}, {"bytes": None, "path": str(folder / "lone.png")}]
        columns = {"image": cells, "label": [i % 2 for i in range(n)], "text": ["x", None, "y", "z"][:n]}
        metadata = {"huggingface": json.dumps({"info": {"features": names}})}
        table = pa.table(columns).replace_schema_metadata(metadata)
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture(params=["stand-in", "datasets"])
def calls(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What was asked of the library, whose Hub is a folder here and knows owner/name alone."""
    folder = tmp_path / "set"
    folder.mkdir()
    fill(folder)
    library: Any = SimpleNamespace()
    if request.param == "datasets":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        library = pytest.importorskip("datasets", reason="needs the library datasets")
    real = getattr(library, "load_dataset", None)
    asked: Calls = []

    def names(name: str, config: str | None, revision: str | None) -> list[str]:
        asked.append(("splits", name, config, revision))
        if name != "owner/name":
            raise FileNotFoundError(f"{name} is not\nthere")
        return [*SPLITS]

    def load(name: str, config: str | None, split: str, revision: str | None) -> Any:
        asked.append(("load", name, config, split, revision))
        if real is not None:
            return real(str(folder), split=split, cache_dir=str(tmp_path / "cache"))
        return Rows(pq.read_table(folder / f"{split}-00000-of-00001.parquet"))

    monkeypatch.setattr(library, "get_dataset_split_names", names, raising=False)
    monkeypatch.setattr(library, "load_dataset", load, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", library)
    return asked


def test_pictures_classes_and_captions(calls: Calls) -> None:
    source = open_source("hub:owner/name")
    assert calls == [("splits", "owner/name", None, None), ("load", "owner/name", None, "train", None)]
    assert source.classes == ("cat", "dog") and [source.label(i) for i in range(4)] == [0, 1, 0, 1]
    assert [source.captions(i) for i in range(4)] == [("x",), (), ("y",), ("z",)]
    pictures = prepare(source)
    expected = [np.moveaxis(np.asarray(noise(6, 4, seed=i)), 2, 0) for i in (0, 1, 9)]
    np.testing.assert_array_equal(pictures.stored, expected)
    assert pictures.notes == (
        "1 of 4 pictures has no caption: owner/name/train[1]",
        "1 of 4 pictures was left out as broken: owner/name/train[2]",
    )


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("hub:owner/name/test", ("owner/name", None, "test", None)),
        ("hub:owner/name@v1.0/test", ("owner/name", None, "test", "v1.0")),
        ("hub:owner/name/large/test", ("owner/name", "large", "test", None)),
        ("hub:owner/name@main", ("owner/name", None, "train", "main")),
    ],
)
def test_splits_configurations_and_revisions(calls: Calls, where: str, asked: tuple[str | None, ...]) -> None:
    assert len(open_source(where)) == SPLITS[str(asked[2])]
    assert calls[1] == ("load", *asked)


def test_the_fingerprint_follows_the_data(calls: Calls) -> None:
    one = open_source("hub:owner/name").fingerprint
    assert open_source("hub:owner/name/train").fingerprint == one != open_source("hub:owner/name/test").fingerprint


def test_an_unknown_split_and_an_absent_data_set_are_refused(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"a split that the data set has, came 'tset'; did you mean 'test'\? known"):
        open_source("hub:owner/name/tset")
    with pytest.raises(
        NotFoundError, match=r"^hub:no/such: .*came FileNotFoundError: no/such is not there; check its name"
    ):
        open_source("hub:no/such")
    assert all(call[0] == "splits" for call in calls)
    monkeypatch.setitem(SPLITS, "validation", 1)
    monkeypatch.delitem(SPLITS, "train")
    with pytest.raises(InputError, match="since none is called train, came test, validation; add one: /SPLIT$"):
        open_source("hub:owner/name")
    monkeypatch.delitem(SPLITS, "validation")
    assert len(open_source("hub:owner/name")) == 2


@pytest.mark.parametrize("where", ["hub:", "hub:name", "hub:owner/", "hub:a/b/c/d/e", "hub:a b/c", "hub:../../x/y/z/w"])
def test_another_spelling_is_refused(where: str) -> None:
    with pytest.raises(InputError, match=r"^expected hub:OWNER/NAME\[@REVISION\]\[\[/CONFIG\]/SPLIT\], came 'hub:"):
        open_source(where)


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"datasets, which is not installed: pip install sfumato\[hub\]$"):
        open_source("hub:owner/name")
