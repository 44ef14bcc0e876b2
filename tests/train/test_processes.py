"""Several processes on one training."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sfumato.files import read_tensors

SETTINGS = ["network.width=16", "network.patch=1", "train.batch=8", "condition.dropout=0.3", "data.flip=true"]


def train(out: Path, processes: int) -> None:
    """Four steps on the digits, by so many processes of one thread each."""
    command = ["-m", "sfumato", "train", "digits", "--recipe", "digits", "--out", str(out), "--steps", "4"]
    command += [word for setting in SETTINGS for word in ("--set", setting)]
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


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    train(tmp_path / "one", 1)
    train(tmp_path / "two", 2)
    one, two = (
        read_tensors(tmp_path / run / "checkpoints" / "step-000000004.safetensors")[0] for run in ("one", "two")
    )
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6
    assert any(float((one[name] - two[name]).abs().max()) > 0 for name in one), "the second process took no part"


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the launcher of processes is tested on POSIX systems")
