"""The trainer called from Python, with a recipe of plain values.

Trains a small model of 8×8 digits for half a minute and draws with it:

    .venv/bin/python examples/recipe_values.py
"""

from pathlib import Path

import sfumato
from sfumato.core.parameterization import VPrediction
from sfumato.core.schedule import Cosine
from sfumato.loss import Denoising, MinSNRWeight
from sfumato.sample import DPMSolver
from sfumato.system import System
from sfumato.train.base_recipe import OptimizerRecipe
from sfumato.train.denoise_recipe import ConditionRecipe, DenoiseRecipe, DenoiseTrainRecipe, SettingsRecipe

RECIPE = DenoiseRecipe(
    about="digits, by values",
    network={"kind": "unet", "width": 32, "multipliers": [1, 2], "blocks": 1, "attention": [1]},
    condition=ConditionRecipe(dropout=0.15),
    schedule=Cosine(T=1000),
    parameterization=VPrediction(),
    loss=Denoising(MinSNRWeight(gamma=5.0)),
    optimizer=OptimizerRecipe(learning_rate=1e-3, warmup=50),
    train=DenoiseTrainRecipe(batch=64, steps=800),
    settings=SettingsRecipe(sampler=DPMSolver(), steps=15, guidance=1.5),
)


def main(data: str | Path = "digits", out: str | Path = "runs/values", steps: int | None = None) -> System:
    system = sfumato.train(data, out=out, recipe=RECIPE, steps=steps)
    assert isinstance(system, System)
    system.generate(["3", "7"], seeds=range(4)).save(Path(out) / "drawn")
    return system


if __name__ == "__main__":
    main()
