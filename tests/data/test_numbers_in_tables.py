"""Data that are real numbers, in a column of lists: layouts and embeddings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sfumato.data import open_source, prepare
from sfumato.errors import DataError
from sfumato.media import Embedding, Image, Layout

MEDIUM = Layout(("flat", "round"), 3)
ROWS = np.random.default_rng(0).uniform(-1, 1, (40, 9, 4)).astype(np.float32)


def written(path: Path, column: Any, name: str = "layout", **more: Any) -> Path:
    pq.write_table(pa.table({name: column} | more), path, row_group_size=7)
    return path


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 36), pa.large_list(pa.float64()), pa.list_(pa.float16())]
)
def test_layouts_come_row_by_row_with_their_captions(kind: Any, tmp_path: Path) -> None:
    numbers = pa.array([row.ravel().astype(np.float16 if "half" in str(kind) else float) for row in ROWS], kind)
    path = written(tmp_path / "x.parquet", numbers, text=[["a cat", f"number {i}"] for i in range(40)])
    data = prepare(open_source(path, MEDIUM), size=(4,))
    assert data.stored.shape == (40, 9, 4) and data.stored.dtype == np.float32 and data.medium == MEDIUM
    assert np.abs(data.stored[:] - ROWS).max() <= (1e-3 if "half" in str(kind) else 0)
    assert data.captions[3] == ("a cat", "number 3") and data.size == (4,)


def test_one_of_other_length_or_not_finite_is_left_out_by_name(tmp_path: Path) -> None:
    rows: list[Any] = [row.ravel().tolist() for row in ROWS[:5]]
    rows[1], rows[2], rows[3] = rows[1][:-1], [*rows[2][:-1], float("nan")], None
    data = prepare(open_source(written(tmp_path / "x.parquet", rows), MEDIUM), size=(4,))
    reasons = {one.name: one.reason for one in data.skipped}
    assert data.names == ("x.parquet[0]", "x.parquet[4]") and reasons.keys() == {f"x.parquet[{i}]" for i in (1, 2, 3)}
    assert reasons["x.parquet[1]"].startswith("expected 36 finite numbers, came 35;")
    assert reasons["x.parquet[2]"].startswith("expected 36 finite numbers, came one that is not;")
    assert "came null" in reasons["x.parquet[3]"]


def test_embeddings_may_be_lists_and_pictures_may_not(tmp_path: Path) -> None:
    vectors = ROWS.reshape(40, 36)
    path = written(tmp_path / "x.parquet", [*vectors], "vector")
    data = prepare(open_source(path, Embedding(36)), size=(36,))
    np.testing.assert_array_equal(data.stored[:], vectors)
    with pytest.raises(DataError, match=r"one column of encoded layouts \(binary, lists of numbers, or a struct"):
        open_source(written(tmp_path / "y.parquet", ["a", "b"], "text"), MEDIUM)
    with pytest.raises(DataError, match="expected one column of encoded pictures"):
        open_source(written(tmp_path / "z.parquet", [*vectors], "image"), Image())


def test_layouts_may_also_be_files(tmp_path: Path) -> None:
    table = {"style": "round", "background": "white", "things": [{"box": [0, 0, 0.5, 0.5], "depth": 0.5}]}
    (tmp_path / "a.json").write_text(json.dumps(table))
    (tmp_path / "a.txt").write_text("a cat")
    data = prepare(open_source(tmp_path, MEDIUM), size=(4,))
    np.testing.assert_array_equal(data.stored[0], MEDIUM.from_table(table))
    assert data.captions == (("a cat",),)
