"""Layouts are trained on and drawn as pictures are."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sfumato
from condition.small_encoder import Waves
from sfumato.condition import Phrases
from sfumato.errors import InputError
from sfumato.media import Layout
from sfumato.parts import TEXT_ENCODERS
from sfumato.system import System
from sfumato.train import recipe, train
from train.small_runs import newest

SMALL = (
    'data.styles=["flat","round"]',
    "data.things=2",
    'condition.conditioner={"kind":"phrases","encoder":{"kind":"waves"},"styles":["flat","round"],"things":2}',
    "network.width=16",
    "network.depth=1",
    "network.head_width=8",
    "train.batch=8",
    "train.show_minutes=99",
    "settings.steps=3",
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cat above a dog, in either of two styles, two dozen times."""
    monkeypatch.setitem(TEXT_ENCODERS.kinds, "waves", Waves)
    layouts = np.zeros((24, 9, 3), np.float32)
    layouts[:, :2, 0] = [1, -1]
    layouts[:, 2:, 0] = 1
    layouts[:, :4, 1], layouts[:, :4, 2] = [0, -0.5, 0, 0], [0, 0.5, 0, 0]
    table = pa.table({"layout": [*layouts.reshape(24, -1)], "text": [["a cat above a dog, flat"]] * 24})
    pq.write_table(table, tmp_path / "layouts.parquet")
    return tmp_path / "layouts.parquet"


def begin(data: Path | None, out: Path, **options: Any) -> System:
    own = {"recipe": "layout", "settings": SMALL} if data is not None else {"resume": True}
    return train(data, out=out, device="cpu", precision="float32", **own, **options)


def test_one_command_trains_a_layout_prior(data: Path, tmp_path: Path) -> None:
    system = begin(data, tmp_path / "run", steps=4)
    assert isinstance(system.conditioner, Phrases) and system.medium == Layout(("flat", "round"), 2)
    drawn = sfumato.load(tmp_path / "run", "cpu", "float32").generate("a cat above a dog, flat", seeds=[1, 2])
    assert drawn.data.shape == (2, 9, 3) and drawn.preview().width > 0
    begin(data, tmp_path / "parts", steps=2)
    begin(None, tmp_path / "parts", steps=4)
    assert newest(tmp_path / "run").read_bytes() == newest(tmp_path / "parts").read_bytes()


def test_a_table_of_another_medium_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.styles is read where data\.medium is layout, and it is image here"):
        recipe.load_recipe("digits", ['data.styles=["flat"]'])
    with pytest.raises(InputError, match="styles must be from 1 to"):
        recipe.load_recipe("layout", ["data.styles=[]"])
    with pytest.raises(InputError, match=r"denoise in latents works on pictures, and data\.medium is layout"):
        recipe.load_recipe("layout", ["codec.kind=latent"])
