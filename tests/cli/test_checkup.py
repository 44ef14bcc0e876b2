"""What is wrong with a machine, of machines that are made up; the cores that a process may use, of folders likewise."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfumato.cli import cores
from sfumato.cli.checkup import Machine, troubles

WELL = Machine(
    device="cpu",
    cores=8,
    affinity=8,
    quota=None,
    load=0.3,
    threads=4,  # half of them are hyperthreads
    wait=None,
    omp=None,
    precision="float32",
    flops={"float32": 2e11, "bfloat16": 5e10},
    cuda=None,
    nvidia=False,
    memory=(10**10, 2 * 10**10),
    disk=10**11,
)
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "threads above the cores": (
        {"threads": 8, "affinity": 2, "omp": "8"},
        "8 threads, by OMP_NUM_THREADS=8, and this process has 2 cores",
        "--threads 2",
    ),
    "a quota": ({"quota": 1.0}, "4 threads, and this process has a quota of 1 core:", "export OMP_NUM_THREADS=1"),
    "a quota of a part": ({"quota": 2.5}, "a quota of 2.5 cores", "export OMP_NUM_THREADS=3"),
    "one thread left in the shell": (
        {"threads": 1, "omp": "1"},
        "1 of 8 cores, by OMP_NUM_THREADS=1, which was left",
        "unset OMP_NUM_THREADS",
    ),
    "waiting by spinning": ({"wait": "ACTIVE"}, "OMP_WAIT_POLICY=active", "unset OMP_WAIT_POLICY"),
    "waiting asleep": ({"wait": "passive"}, "OMP_WAIT_POLICY=passive", "unset OMP_WAIT_POLICY"),
    "busy": ({"load": 12.34}, "a load of 12.3 on 8 cores", "wait"),
    "bfloat16 slower": (
        {"precision": "bfloat16"},
        "bfloat16 is chosen, and float32 is 4.0 times as fast",
        "--precision float32",
    ),
    "bfloat16 faster": (
        {"flops": {"float32": 1e11, "bfloat16": 3e11}},
        "float32 is chosen, and bfloat16 is 3.0 times as fast",
        "--precision bfloat16",
    ),
    "a card without CUDA": ({"nvidia": True}, "has an NVIDIA card, and torch is built for the CPU", "pytorch.org"),
    "a card without a driver": ({"nvidia": True, "cuda": "12.8"}, "CUDA 12.8 and cannot use the NVIDIA", "nvidia-smi"),
    "CUDA without a card": ({"cuda": "12.8"}, "CUDA 12.8, and there is no NVIDIA card", "whl/cpu"),
    "little memory": ({"memory": (10**9, 10**10)}, "1.0 GB of 10.0 GB of memory", "-n 1"),
    "little disk": ({"disk": 10**9}, "1.0 GB of the disk", "--out"),
}
WELL_TOO: dict[str, dict[str, Any]] = {
    "as many threads as cores": {"threads": 8},
    "a quota that is wide": {"quota": 6.0},
    "half of the cores asked for": {"threads": 4, "omp": "4"},
    "one of two cores": {"threads": 1, "omp": "1", "cores": 2, "affinity": 2},
    "precisions that are alike": {"flops": {"float32": 1e11, "bfloat16": 1.1e11}},
    "a precision that cannot be": {"flops": {"float32": 1e11}},
    "a card in use": {"device": "cuda", "nvidia": True, "cuda": "12.8", "wait": "active"},
}


@pytest.mark.parametrize("name", WRONG)
def test_whatever_is_wrong_comes_with_what_to_do(name: str) -> None:
    changed, what, do = WRONG[name]
    (found,) = troubles(replace(WELL, **changed))
    assert what in found.what and do in found.do


@pytest.mark.parametrize("name", WELL_TOO)
def test_what_is_well_is_left_alone(name: str) -> None:
    assert troubles(WELL) == [] == troubles(replace(WELL, **WELL_TOO[name]))


# Cores ----------------------------------------------------------------------------------------------------------------


def kernel(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "4:memory:/pod\n2:cpu,cpuacct:/pod/one\n0::/\n"
GROUPS: dict[str, tuple[dict[str, str], float | None]] = {
    "no control groups": ({}, None),
    "no bound": ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, None),
    "version 2": ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5),
    "a tighter one around it": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
        },
        2.0,
    ),
    "the path outside of a container": (
        {"proc/self/cgroup": "0::/../outer\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"},
        0.5,
    ),
    "version 1": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu,cpuacct/pod/one/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/pod/one/cpu.cfs_period_us": "100000\n",
        },
        3.0,
    ),
    "version 1 without a bound": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "nonsense": ({"proc/self/cgroup": "a\n0::/a\n", "sys/fs/cgroup/a/cpu.max": "many\n"}, None),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_quota_of_a_container_is_found(name: str, tmp_path: Path) -> None:
    files, quota = GROUPS[name]
    assert cores.quota(kernel(tmp_path, files)) == quota


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 5, 7}, raising=False)
    assert cores.allowed_cores(tmp_path) == (3, None)
