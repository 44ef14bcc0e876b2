"""The examples of how to extend: each is what it says, and each is known to Sfumato by its one line."""

import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

import sfumato
from sfumato.condition import Conditioner
from sfumato.core.grid import LogSNRSpacing, UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import VP, Flow
from sfumato.errors import DataError, FormatError, InputError, ShapeError
from sfumato.media import Medium
from sfumato.oracle import GaussianDenoiser
from sfumato.parts import SAMPLERS, Kinds
from sfumato.sample import DDIM, Sampler, sample

SRC = Path(sfumato.__file__).parent
EXAMPLES = Path(__file__).parents[1] / "examples" / "extend"


def example(name: str) -> Any:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"extend_{name}", EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sampler_is_of_second_order() -> None:
    midpoint, oracle = example("sampler").Midpoint(), GaussianDenoiser(VP(), torch.tensor([0.6]), torch.tensor(0.5))

    def miss(steps: int) -> float:
        grid = levels(oracle.schedule, LogSNRSpacing(), steps)[:-1]
        first, last = grid[0], grid[-1]
        start = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)
        *_, end = sample(oracle, midpoint, start, grid, noise=Noise([0, 1, 2]))
        std_first, std_last = ((level.alpha**2 * 0.25 + level.sigma**2).sqrt() for level in (first, last))
        exact = last.alpha * 0.6 + (start - first.alpha * 0.6) * std_last / std_first
        return float((end - exact).abs().max())

    assert math.log2(miss(40) / miss(80)) == pytest.approx(2, abs=0.15)


def test_the_sampler_starts_from_pure_noise_and_ends_on_clean_data() -> None:
    oracle = GaussianDenoiser(Flow(), torch.tensor([0.6]), torch.tensor(0.5))
    spacing = levels(Flow(), UniformSpacing(), 4)
    *_, end = sample(oracle, example("sampler").Midpoint(), torch.zeros(1, 1), spacing, noise=Noise([0]))
    assert end.item() == pytest.approx(0.6, abs=0.01)


def test_the_schedule_is_a_circle_and_its_inverse_is_one() -> None:
    schedule = example("schedule").Trigonometric()
    t = torch.linspace(0.01, 1, 9, dtype=torch.float64)
    level = schedule(t)
    assert torch.allclose(level.alpha**2 + level.sigma**2, torch.ones(9, dtype=torch.float64))
    assert torch.allclose(schedule.inverse(level.logsnr), t)
    assert level.alpha[-1] == 0 and schedule(torch.zeros(1)).sigma == 0
    with pytest.raises(InputError, match=r"time must lie in \[0, 1\]"):
        schedule(torch.tensor([1.5]))


def test_the_guide_pulls_the_mean_of_every_sample() -> None:
    oracle = GaussianDenoiser(VP(), torch.tensor([0.2, 0.4]), torch.tensor(0.5))
    guide = example("guide").Brightness(oracle, mean=0.9, share=0.5)
    x, level = torch.zeros(3, 2), Level(*(torch.tensor([value], dtype=torch.float64) for value in (0.5, 0.6, 0.8)))
    before, after = oracle(x, level).x0.mean(1), guide(x, level).x0.mean(1)
    assert torch.allclose(after, before + 0.5 * (0.9 - before))


def test_the_conditioner_is_a_circle_and_its_null_is_the_origin() -> None:
    hour = example("conditioner").Hour()
    assert isinstance(hour, Conditioner) and hour.reads == "captions" and hour.truncated("6:00") == ""
    found = hour(["0:00", "6:00", "18:00", None, ""]).vector
    wanted = torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, -1, 1], [0, 0, 0], [0, 0, 0]])
    assert torch.allclose(found, wanted, atol=1e-6) and found.shape[1] == hour.widths["vector"]
    assert torch.equal(hour.null([None]).vector, torch.zeros(1, 3))
    for wrong in ("25:00", "6", "six", 6):
        with pytest.raises(InputError, match="HOURS:MINUTES"):
            hour([wrong])


def test_the_codec_loses_nothing_and_keeps_lengths() -> None:
    codec = example("codec").Haar()
    data = torch.rand(2, 3, 6, 4) * 2 - 1
    samples = codec.encode(data)
    assert tuple(samples.shape[1:]) == codec.shape((4, 6)) == (12, 3, 2)
    assert torch.allclose(codec.decode(samples), data, atol=1e-6)
    assert torch.allclose(samples.square().sum((1, 2, 3)), data.square().sum((1, 2, 3)))
    assert codec.encode(torch.ones(1, 3, 2, 2)).max() == codec.limit
    with pytest.raises(ShapeError, match="even sides, not 5×4"):
        codec.shape((5, 4))


def test_the_command_shows_the_levels() -> None:
    app = typer.Typer()
    app.command()(example("command").levels)
    result = CliRunner().invoke(app, ["flow", "--spacing", "uniform", "--steps", "2"])
    assert result.output.splitlines() == [
        "t = 1      0.0000·x_0 + 1.0000·eps",
        "t = 0.001  0.9990·x_0 + 0.0010·eps",
        "t = 0      1.0000·x_0 + 0.0000·eps",
    ]


def test_the_medium_writes_what_it_reads(tmp_path: Path) -> None:
    curve = example("medium").Curve(channels=2)
    assert isinstance(curve, Medium) and curve.shape(curve.parse_size("5")) == (2, 5)
    datum, record = torch.randn(2, 5), {"prompt": "a cold day, snow", "seed": 3}
    path = curve.write(datum, record, tmp_path / "day")
    assert path.name == "day.csv" and curve.read_record(path) == record
    assert curve.write(datum, record, tmp_path / "day") == path
    assert curve.write(datum + 1, record, tmp_path / "day").name == "day_2.csv"
    assert torch.allclose(curve.floats(torch.tensor(curve.decode(path.read_bytes(), "day"))), datum)
    assert curve.decode(path.read_bytes(), "day", (3,)).shape == (2, 3)
    assert curve.preview(torch.stack([datum, datum])).size == (2 * (5 + 2) + 2, 64 + 4)


@pytest.mark.parametrize(
    ("data", "message"), [(b"1,a", "no table of numbers"), (b"1\n2", r"4 rows of 2 finite numbers")]
)
def test_the_medium_refuses_files_of_another_form(data: bytes, message: str, tmp_path: Path) -> None:
    curve = example("medium").Curve(channels=2)
    with pytest.raises(DataError, match=message):
        curve.decode(data, "a.csv", (4,))
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(FormatError, match="carries no record"):
        curve.read_record(tmp_path / "a.csv")


def test_a_kind_that_was_added_is_read_written_and_spelled_like_any_other() -> None:
    samplers, midpoint = Kinds[Sampler[Any]]("sampler", SAMPLERS.kinds), example("sampler").Midpoint
    samplers.add("midpoint", midpoint)
    samplers.add("midpoint", midpoint)
    assert samplers.dump(midpoint()) == {"kind": "midpoint"} and samplers.parse("midpoint") == midpoint()
    assert "midpoint" not in SAMPLERS.kinds
    with pytest.raises(InputError, match="the sampler 'ddim' is DDIM: give yours another name"):
        samplers.add("ddim", midpoint)
    assert samplers.kinds["ddim"] is DDIM


ADDITIONS = {
    "conditioner": ("condition/hour.py", "parts.py", "CONDITIONERS", "hour", "Hour"),
    "codec": ("codec/haar.py", "parts.py", "CODECS", "haar", "Haar"),
    "medium": ("media/curve.py", "parts.py", "MEDIA", "curve", "Curve"),
    "task": ("train/tasks/noise_level.py", "train/tasks/__init__.py", "TASKS", "noise-level", "NoiseLevelTask"),
}
"""Of each example: its file in the package, the file of its line, the table there, its kind and its class."""

DRAWS = """
import json
from pathlib import Path
import numpy as np
from sfumato import System
from sfumato.codec import Identity
from sfumato.codec.haar import Haar
from sfumato.condition import Nothing
from sfumato.condition.hour import Hour
from sfumato.core.parameterization import FlowPrediction
from sfumato.core.schedule import Flow
from sfumato.denoise import Denoiser
from sfumato.media import Image
from sfumato.media.curve import Curve
from sfumato.parts import NETWORKS
from sfumato.system import Settings
from sfumato.system.samples import read_record
from sfumato.train import train

def drawn(name, codec, conditioner, network, size):
    denoiser = Denoiser(NETWORKS.load(network), Flow(), FlowPrediction())
    System(codec, conditioner, denoiser, Settings(size, steps=2)).save(name)
    system = System.load(name)
    assert system.codec == codec and system.conditioner == conditioner
    asked = {"prompt": "6:30", "guidance": 2.0} if conditioner.widths else {}
    samples = system.generate(seeds=[0, 1], **asked)
    (one, other) = samples.save(f"{name}-drawn")
    assert read_record(one)["seed"] == 0 and samples.preview() is not None
    return one.name, tuple(samples.data.shape)

unet = {"kind": "unet", "in_channels": 12, "out_channels": 12, "width": 8, "multipliers": [1], "attention": []}
print(drawn("haar", Haar(Image(3)), Hour(), unet | {"vector": 3}, (6, 4)))
flat = unet | {"kind": "unet-1d", "in_channels": 2, "out_channels": 2}
hours = np.array([f"{hour}:30" for hour in range(16)])
np.savez("pictures.npz", images=np.random.default_rng(0).integers(0, 256, (16, 8, 8), np.uint8), captions=hours)
own = {"kind": "encoder", "width": 8, "multipliers": [1], "attention": []}
recipe = {"task": "noise-level", "network": own, "train": {"batch": 4}}
train("pictures.npz", out="run", recipe=recipe, steps=2, device="cpu")
train("pictures.npz", out="run", resume=True, steps=3, device="cpu")
print(json.loads(Path("run/noise-level/noise-level.json").read_text())["about"]["steps"])
small = {key: value for key, value in unet.items() if not key.endswith("channels")}
recipe = {"condition": {"conditioner": {"kind": "hour"}}, "network": small, "train": {"batch": 4}}
system = train("pictures.npz", out="hours", recipe=recipe, steps=2, device="cpu")
print(system.conditioner, len(system.generate(["6:30", "7:30"], guidance=2.0, steps=2)))
print(drawn("curve", Identity(Curve(2)), Nothing(), flat, (16,)))
"""


def test_a_conditioner_a_codec_a_medium_and_a_task_touch_two_files_each(tmp_path: Path) -> None:
    """In a copy of the source: the example's own file and one line. A system of each is then saved, opened and drawn
    with, and its samples are kept and recognised by their files; a system is trained with the
    conditioner, and a run of the task is trained and goes on."""
    source = tmp_path / "src" / "sfumato"
    shutil.copytree(SRC, source, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for name, (file, registry, table, kind, known) in ADDITIONS.items():
        shutil.copy(EXAMPLES / f"{name}.py", source / file)
        module = f"sfumato.{file.removesuffix('.py').replace('/', '.')}"
        text = (source / registry).read_text(encoding="utf-8")
        text, count = re.subn(rf"^({table}\b[^{{]*{{)", rf'\1"{kind}": {known}, ', text, flags=re.MULTILINE)
        assert count == 1
        (source / registry).write_text(
            text.replace("\nfrom sfumato", f"\nfrom {module} import {known}\nfrom sfumato", 1)
        )
    found = subprocess.run(
        [sys.executable, "-c", DRAWS],
        env=os.environ | {"PYTHONPATH": str(source.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [
        "('6-30-0.png', (2, 3, 4, 6))",
        "3",
        "Hour(dropout=0.1) 2",
        "('0.csv', (2, 2, 16))",
    ]
