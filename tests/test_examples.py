"""The examples: what the pages include of them runs, and does what the pages say."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfumato.condition import Phrases
from sfumato.train.denoise_recipe import DenoiseRecipe
from sfumato.train.recipe import load_recipe

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> Any:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_loop_of_ones_own_learns_a_ring_and_its_quarters() -> None:
    own = example("own_loop")
    denoiser = own.train(steps=500)
    for quarter in (0, 2):
        points = own.draw(denoiser, quarter, seeds=list(range(64)), steps=12)
        angle = torch.atan2(points[:, 1], points[:, 0]) % (2 * math.pi)
        assert ((angle / (math.pi / 2)).long() == quarter).float().mean() > 0.8
        assert 0.8 < points.norm(dim=1).mean() < 1.3  # guidance leads a little beyond


def test_a_recipe_of_values_trains_a_system(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (64, 8, 8), np.uint8)
    classes = np.array([str(digit) for digit in range(10)])
    np.savez(tmp_path / "data.npz", images=pictures, labels=np.arange(64) % 10, classes=classes)
    values = example("recipe_values")
    system = values.main(tmp_path / "data.npz", tmp_path / "run", steps=2)
    assert len(list((tmp_path / "run" / "drawn").glob("*.png"))) == 8
    assert system.settings.sampler == values.DPMSolver() and system.denoiser.schedule == values.Cosine(T=1000)


def test_names_in_captions_are_a_setting_of_the_recipe_for_layouts(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    captions = ["rocket", "cat with tears of joy", "rocket", "œuf and spoon"]
    parquet.write_table(pyarrow.table({"caption": captions}), tmp_path / "train.parquet")
    recipe = load_recipe("layout", [example("emoji_names").setting(tmp_path / "train.parquet")])
    assert isinstance(recipe, DenoiseRecipe) and isinstance(recipe.condition.conditioner, Phrases)
    assert recipe.condition.conditioner.names == ("cat with tears of joy", "œuf and spoon")
