"""Where a run's data lie changes no byte of its weights."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_runs import begin, digest

from sfumato.errors import InputError
from sfumato.train.run_folder import RunFolder

LEARNED = ("condition.kind=learned", "condition.width=8", "condition.layers=1", "condition.vocabulary=300")


def shards(root: Path) -> Path:
    """Twelve pictures in three Parquet files, one of them broken, with captions and labels."""
    for f in range(3):
        images = []
        for i in range(4):
            stream = io.BytesIO()
            noise = np.random.default_rng(4 * f + i).integers(0, 256, (9, 11, 3), dtype=np.uint8)
            Image.fromarray(noise).save(stream, "PNG")
            images.append(stream.getvalue() if (f, i) != (1, 2) else b"junk")
        rows = {"image": images, "label": [f % 2] * 4, "text": [f"noise {f}"] * 4}
        root.mkdir(exist_ok=True)
        pq.write_table(pa.table(rows), root / f"{f}.parquet", row_group_size=2)
    return root


def test_the_weights_have_the_same_bytes_in_every_store(tmp_path: Path) -> None:
    data = shards(tmp_path / "shards")
    settings = ("data.size=[8,8]", "data.channels=3", "data.flip=true", 'data.backgrounds=["red"]', *LEARNED)
    found: dict[str, list[str]] = {}
    for store in ("memory", "map", "source"):
        out = tmp_path / store
        begin(data, out, f"data.store={store}", *settings, steps=3)
        found[store] = [digest(path) for path in sorted((out / "system").glob("*.safetensors"))]
        assert RunFolder(out).cache.exists() == (store == "map")
    assert found["memory"] and found["memory"] == found["map"] == found["source"]


def test_a_run_among_shards_is_refused_for_its_previews_would_hide_them(tmp_path: Path) -> None:
    data = shards(tmp_path / "shards")
    with pytest.raises(InputError, match="would become data: choose a folder beside the data"):
        begin(data, data / "run", "data.size=[8,8]", steps=1)
    assert not (data / "run").exists()
