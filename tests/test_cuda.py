"""On a GPU: the same numbers as on the CPU, from training to drawing. Left out where there is none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

import sfumato
from condition.small_encoder import Waves
from sfumato.parts import SAMPLERS, TEXT_ENCODERS
from sfumato.system import System
from sfumato.train import train
from train.small_runs import COLOURS, FIT, SMALL, newest, pictures_file, tensors

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU of CUDA here"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),  # the loader's workers, from Python 3.12 on
]

BOTH = {"host": "cpu", "gpu": "cuda"}
RATE = 1e-3
STEADY = (f"optimizer.learning_rate={RATE}", "optimizer.warmup=1")
SOLVERS = [kind for kind in SAMPLERS.kinds if kind != "langevin"]  # which does not begin at pure noise
LATENT = (
    "data.size=[16,16]",
    "codec.init_from=null",
    "train.init_from=null",
    f"codec.settings={json.dumps([*FIT, *STEADY, 'train.steps=6', 'reconstruction.adversarial=0.1'])}",
    'condition.encoder={"kind":"waves"}',
    "condition.layout=8",
    "network.width=8",
    "network.multipliers=[1]",
    "network.attention=[0]",
    "network.head_width=8",
    "train.batch=4",
    "settings.steps=3",
    *STEADY,
)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Convolutions in float32, not in TF32 with its ten bits; and an encoder that is known in closed form."""
    monkeypatch.setitem(TEXT_ENCODERS.kinds, "waves", Waves)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures_file(tmp_path / "small.npz")


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    folder = tmp_path / "captioned"
    folder.mkdir()
    for i in range(12):
        name, colour = list(COLOURS.items())[i % 3]
        Image.new("RGB", (16, 16), colour).save(folder / f"{i:02d}.png")
        (folder / f"{i:02d}.txt").write_text(f"a {name} cat\na {name} house")
    return folder


def parted(one: Path, other: Path) -> float:
    """The largest difference of two runs' weights, in units of a step of Adam's."""
    found = [tensors(newest(out)) for out in (one, other)]
    names = [name for name in found[0] if name.startswith("network.")]
    assert names and found[0].keys() == found[1].keys()
    return max(float((found[0][name] - found[1][name]).abs().max()) for name in names) / RATE


def begin(data: Path | None, out: Path, *settings: str, **options: Any) -> Any:
    AcceleratorState._reset_state(reset_partial_state=True)  # which knows one device for a process
    chosen: dict[str, Any] = {"precision": "float32"} | options
    if not chosen.get("resume"):
        chosen = {"recipe": "digits", "settings": [*SMALL, *settings]} | chosen
    return train(data, out=out, **chosen)


def apart(one: System, other: System, prompt: Any, **settings: Any) -> float:
    """The largest difference of what two systems draw."""
    drawn = [own.generate(prompt, seeds=[3, 4], **settings).data for own in (one, other)]
    assert drawn[0].device.type == "cpu"
    return float((drawn[0] - drawn[1]).abs().max())


def test_the_gpu_is_taken_unasked_and_in_bfloat16(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", steps=2, precision=None)
    system = sfumato.load(tmp_path / "run")
    assert system.device.type == "cuda"
    assert next(system.denoiser.network.parameters()).dtype == torch.bfloat16
    assert apart(system, sfumato.load(tmp_path / "run", "cpu", "float32"), 1) < 0.1


def test_training_is_that_of_the_cpu(data: Path, tmp_path: Path) -> None:
    for name, device in BOTH.items():
        begin(data, tmp_path / name, *STEADY, steps=6, device=device)
    assert parted(tmp_path / "gpu", tmp_path / "host") < 0.2


def test_a_run_goes_on_as_if_it_had_not_been_stopped(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "whole", steps=6)
    begin(data, tmp_path / "halved", steps=3)
    begin(None, tmp_path / "halved", resume=True, steps=6)
    one, other = (tensors(newest(tmp_path / name)) for name in ("whole", "halved"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("sampler", SOLVERS)
def test_every_solver_draws_what_it_draws_on_the_cpu(sampler: str, data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", steps=2)
    one, other = (sfumato.load(tmp_path / "run", device, "float32") for device in ("cuda", "cpu"))
    spacing = "distilled" if sampler == "lcm" else None
    assert apart(one, other, [0, 2], sampler=sampler, spacing=spacing, steps=4, guidance=2.0) < 1e-3


def test_latents_and_text_from_start_to_picture(captioned: Path, tmp_path: Path) -> None:
    for name, device in BOTH.items():
        begin(captioned, tmp_path / name, recipe="text-to-image", settings=LATENT, steps=4, device=device)
    for stage in ("autoencoder", "."):
        assert parted(tmp_path / "gpu" / stage, tmp_path / "host" / stage) < 0.5
    one, other = (sfumato.load(tmp_path / "gpu", device, "float32") for device in ("cuda", "cpu"))
    assert apart(one, other, ["a red cat", None]) < 1e-3
    halves = sfumato.load(tmp_path / "gpu", "cuda", "bfloat16")
    assert apart(halves, other, ["a red cat", None]) < 0.2


def test_a_classifier_and_its_guidance(data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"recipe": "classifier", "steps": 3}
    options["settings"] = ["network.width=8", "network.patch=1", "train.batch=8", *STEADY]
    guides = [begin(data, tmp_path / name, device=device, **options) for name, device in BOTH.items()]
    assert parted(tmp_path / "gpu", tmp_path / "host") < 0.2
    begin(data, tmp_path / "run", steps=2)
    drawn = [
        sfumato.load(tmp_path / "run", device, "float32").generate(1, seeds=[5], guide=guide.guide("1", 2.0), steps=4)
        for device, guide in zip(BOTH.values(), guides, strict=True)
    ]
    assert (drawn[0].data - drawn[1].data).abs().max() < 1e-3
