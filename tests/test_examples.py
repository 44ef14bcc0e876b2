"""The examples: what the pages include of them runs, and does what the pages say."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import torch

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
