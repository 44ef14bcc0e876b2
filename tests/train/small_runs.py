"""Small runs: a tiny network on two dozen pictures of 8×8."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from sfumato import disk, files
from sfumato.data import Dataset, open_source, prepare
from sfumato.system import System
from sfumato.train import checkpoint, recipe, train
from sfumato.train.compute import Compute
from sfumato.train.monitor import Quiet
from sfumato.train.plan import Budget
from sfumato.train.run import Run
from sfumato.train.run_folder import RunFolder
from sfumato.train.tasks import TASKS
from sfumato.train.trainer import Trainer

SMALL = (
    "network.patch=1",
    "network.width=8",
    "network.multipliers=[1]",
    "network.blocks=1",
    "network.attention=[]",
    "network.scale_shift=true",
    "optimizer.warmup=3",
    "train.batch=8",
    "settings.steps=2",
    "settings.guidance=1.0",
)

FIT = ("network.width=8", "network.patch=2", "network.multipliers=[1,1]", "network.latent=2", "train.batch=4")
"""An autoencoder as small."""
COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}


def pictures_file(path: Path, n: int = 24, labels: list[int] | None = None, seed: int = 0) -> Path:
    """A .npz of n pictures of noise; labels 0, 1, 2, 0, … unless given, and none if they are []."""
    arrays: dict[str, Any] = {"images": np.random.default_rng(seed).integers(0, 256, (n, 8, 8), dtype=np.uint8)}
    if labels != []:
        arrays["labels"] = np.arange(n) % 3 if labels is None else np.array(labels)
    np.savez(path, **arrays)
    return path


def begin(data: Path | str | None, out: Path | None, *settings: str, **options: Any) -> System:
    """Train a small system, in float32 on the CPU unless asked otherwise."""
    chosen: dict[str, Any] = {"device": "cpu", "precision": "float32"} | options
    if not chosen.get("resume"):
        chosen = {"recipe": "digits", "settings": [*SMALL, *settings]} | chosen
    elif settings:
        chosen["settings"] = settings
    return train(data, out=out, **chosen)


def trainer(data: Path | str, out: Path, *settings: str) -> Trainer:
    """A trainer that has made no step."""
    out.mkdir(parents=True, exist_ok=True)
    chosen = recipe.load_recipe("digits", [*SMALL, *settings])
    folder, compute = RunFolder(out), Compute(Accelerator(cpu=True), "float32")
    run = Run(chosen, Budget(chosen.train.steps), str(data), read(data), folder, compute, Quiet())
    task = TASKS[chosen.task](run)
    for need in task.needs():
        need.make()
    return Trainer(chosen, task.trainee(), folder, folder.artefact(task.leaves), compute, Quiet())


def read(data: Path | str) -> Dataset:
    return prepare(open_source(data), size=(8, 8), channels=1)


def checkpoints(out: Path) -> list[Path]:
    return checkpoint.find_checkpoints(out / "checkpoints")


def newest(out: Path) -> Path:
    return checkpoints(out)[-1]


def last_step(out: Path) -> int:
    """The step of the newest checkpoint; −1 without any."""
    found = checkpoints(out)
    return int(found[-1].stem.removeprefix("step-")) if found else -1


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tensors(path: Path) -> dict[str, Tensor]:
    return files.read_tensors(path)[0]


def everything(folder: Path) -> dict[str, str]:
    """Each file under a folder, and what is in it."""
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def left(path: Path) -> Path:
    """What a writer of ours leaves of `path` when it is killed."""
    beside = path.with_name(f".{path.name}.sfumato-{disk.host()}-{2**22 + 1}-0123abcd.part")
    beside.write_bytes(b"half")
    return beside


def weights(one: Trainer) -> dict[str, Tensor]:
    """A copy of the weights and of their average."""
    state = {f"network.{name}": tensor for name, tensor in one.network.state_dict().items()}
    state |= {f"average.{name}": tensor for name, tensor in one.average.state_dict().items()}
    return {name: tensor.clone() for name, tensor in state.items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
