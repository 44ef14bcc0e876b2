"""Several processes on one training."""

import json
import logging
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from sfumato import launcher
from sfumato.errors import InputError
from sfumato.files import read_tensors
from sfumato.train import processes

DIGITS = ["network.width=16", "network.patch=1", "train.batch=8", "condition.dropout=0.3", "data.flip=true"]
DIGITS += ["network.dropout=0.1"]
# Latents are kept in float16: where processes differ by more, as in a deeper codec, some are rounded the other way.
SHALLOW = ["network.width=8", "network.patch=2", "network.multipliers=[1]", "network.blocks=1", "network.latent=2"]
CODEC = [*SHALLOW, "train.batch=4"]
LATENT = [
    "data.size=[8,8]",
    "codec.init_from=null",
    "train.init_from=null",
    "data.flip=true",
    f"codec.settings={json.dumps([*CODEC, 'train.steps=3', 'reconstruction.adversarial=0.1'])}",
    "network.width=8",
    "network.multipliers=[1]",
    "network.blocks=1",
    "network.attention=[0]",
    "network.head_width=8",
    "network.patch=1",
    "train.batch=4",
    "settings.steps=3",
]
READS = {
    "text": ['condition.encoder={"kind":"waves"}'],
    "learned": ["condition.kind=learned", "condition.width=8", "condition.layers=1", "condition.heads=2"],
}
WATCHED = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from condition.small_encoder import Waves
from sfumato.cli import main
from sfumato.condition import cached as cache
from sfumato.parts import TEXT_ENCODERS
from sfumato.train import feed
def watched(module, name):
    make = getattr(module, name)
    def made(*arguments):
        with open(Path(sys.argv[sys.argv.index("--out") + 1]) / "made", "a") as file:
            file.write(f"{{name}} by {{os.environ.get('RANK', '0')}}\\n")
        time.sleep(1)  # long enough for a process that does not wait to begin as well
        return make(*arguments)
    setattr(module, name, made)
watched(feed, "_encode")
watched(cache, "_encoded")
TEXT_ENCODERS.kinds["waves"] = Waves
main()
"""
"""The command line, with an encoder of closed form; it writes down which process makes what all of them need."""


def train(out: Path, processes: int, data: str, recipe: str, settings: list[str], program: list[str]) -> None:
    """Four steps by so many processes of one thread each."""
    command = [*program, "train", data, "--recipe", recipe, "--out", str(out), "--steps", "4"]
    command += [word for setting in settings for word in ("--set", setting)]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-addr", "127.0.0.1"]
        command = [*launch, "--master-port", port, *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("4 steps made") == 1, "only the first process speaks"


def newest(run: Path) -> dict[str, Tensor]:
    return read_tensors(max((run / "checkpoints").iterdir()))[0]


def gap(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The largest difference of two checkpoints, beside the largest number in its tensor or 0.01: some gradients are
    but the rounding of zero."""
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max() / one[name].abs().max().clamp_min(1e-2)) for name in one)


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    for number in (1, 2):
        train(tmp_path / str(number), number, "digits", "digits", DIGITS, ["-m", "sfumato"])
    one, two = newest(tmp_path / "1"), newest(tmp_path / "2")
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6
    assert any(float((one[name] - two[name]).abs().max()) > 0 for name in one), "the second process took no part"


@pytest.mark.parametrize("reads", ["text", pytest.param("learned", marks=pytest.mark.release)])
def test_two_processes_train_in_latents_what_one_does(reads: str, tmp_path: Path) -> None:
    """Both stages. Latents and captions are made once, by the first process, while the second waits."""
    data, program = tmp_path / "data", tmp_path / "watched.py"
    data.mkdir()
    program.write_text(WATCHED)
    for i in range(8):
        Image.linear_gradient("L").resize((8, 8)).rotate(40 * i).convert("RGB").save(data / f"{i}.png")
        (data / f"{i}.txt").write_text(f"a {'cat dog house hat'.split()[i % 4]}")
    settings = [*LATENT, *READS[reads]]
    for number in (1, 2):
        train(tmp_path / str(number), number, str(data), "text-to-image", settings, [str(program)])
        made = (tmp_path / str(number) / "made").read_text().split("\n")
        assert made == [*(["_encoded by 0"] if reads == "text" else []), "_encode by 0", ""]
    one, two = tmp_path / "1", tmp_path / "2"
    assert 0 < gap(newest(one / "autoencoder"), newest(two / "autoencoder")) <= 1e-4
    assert 0 < gap(newest(one), newest(two)) <= 1e-4


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the launcher of processes is tested on POSIX systems")


# What launchers leave -------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*launcher.COUNTS, *launcher.RANKS, *launcher.LOCAL, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("left", "text"),
    [
        ({"WORLD_SIZE": "2"}, "^WORLD_SIZE is 2 and MASTER_ADDR is not set: unset it, or start by torchrun$"),
        ({"PMI_SIZE": "2"}, "^PMI_SIZE is 2 and MASTER_ADDR is not set: unset it, or start by torchrun$"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "x"}, "^WORLD_SIZE is 2 and RANK is not set"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "x", "RANK": "2"}, "^WORLD_SIZE is 2 and the rank is 2"),
        ({"WORLD_SIZE": "two"}, "^WORLD_SIZE is 'two', which is no number of a process: unset it$"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "x", "RANK": "-1"}, "^RANK is '-1', which is no number"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "^ACCELERATE_USE_DEEPSPEED is set, which is a way to train that"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "^ACCELERATE_USE_MEGATRON_LM is set"),
        ({"ACCELERATE_USE_FSDP": "TRUE"}, "^ACCELERATE_USE_FSDP is set"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "1"}, "^ACCELERATE_USE_PARALLELISM_CONFIG is set"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("bare")
def test_what_a_launcher_left_is_one_error(left: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=text):
        processes.join("cpu")


@pytest.mark.usefixtures("bare")
def test_a_meeting_that_nobody_comes_to_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sfumato")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {"WORLD_SIZE": 2, "RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(processes, "FIRST_WAIT", timedelta(seconds=1.5))
    monkeypatch.setattr(processes, "SILENT", 0.1)
    with pytest.raises(InputError, match=rf"^WORLD_SIZE is 2, and not all processes met at 127\.0\.0\.1:{port} within"):
        processes.join("cpu")
    assert caplog.messages == [f"waiting for 2 processes to meet at 127.0.0.1:{port}, for 0.025 minutes at most"]


@pytest.mark.usefixtures("bare")
def test_what_accelerate_would_do_beside_us_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixed precision, accumulation and compiling, by its configuration; and one process is no group of one."""
    settings = {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "ACCELERATE_DOWNCAST_BF16": "true",
        "LOCAL_RANK": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    accelerator = processes.join("cpu")
    assert accelerator.mixed_precision == "no" and not accelerator.native_amp and accelerator.num_processes == 1
    assert accelerator.state.dynamo_plugin.backend.value.lower() == "no"
    weight = torch.ones(1, requires_grad=True)
    accelerator.backward((3 * weight).sum())
    assert weight.grad is not None and weight.grad.item() == 3
    assert all(os.environ[name] == value for name, value in settings.items())
