"""What a drawing or a training hangs on at a machine, and what of it is wrong."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

GPU_DRIVERS = "https://pytorch.org/get-started/locally/"
SHORT_DISK, SHORT_MEMORY = 2e9, 1.5e9
"""Bytes below which a run soon has no room: a training keeps two checkpoints, and drawing what ships takes 0.7 GB."""
MUCH = 1.2
"""How many times faster one precision has to be than the other to say so: less is the noise of measuring."""


class Wrong(NamedTuple):
    """Something that is wrong, and what to do."""

    what: str
    do: str


@dataclass(frozen=True)
class Machine:
    """The facts: counts of cores, threads and GPUs, bytes, and FLOP/s by precision."""

    device: str
    cores: int
    affinity: int
    quota: float | None
    load: float
    threads: int
    wait: str | None
    """OMP_WAIT_POLICY as the environment has it."""
    omp: str | None
    """OMP_NUM_THREADS as the environment has it."""
    precision: str
    flops: Mapping[str, float]
    cuda: str | None
    """The version of CUDA that torch is built for."""
    nvidia: bool
    """Whether the machine has a card of NVIDIA's, whether or not it can be used."""
    memory: tuple[int, int]
    """Bytes on the device: free, and in all."""
    disk: int

    @property
    def allowed(self) -> int:
        """How many threads can compute at once."""
        return max(1, min(self.affinity, ceil(self.quota) if self.quota is not None else self.affinity))


def troubles(machine: Machine) -> list[Wrong]:
    """All that is wrong, what costs most first."""
    found = [_gpu(machine), _threads(machine), _wait(machine), _load(machine)]
    return [one for one in (*found, _precision(machine), _memory(machine), _disk(machine)) if one is not None]


def _gpu(machine: Machine) -> Wrong | None:
    if machine.device == "cuda":
        return None
    if machine.nvidia and machine.cuda is None:
        return Wrong(
            "this machine has an NVIDIA card, and torch is built for the CPU alone",
            f"install the torch for your CUDA: {GPU_DRIVERS}",
        )
    if machine.nvidia:
        return Wrong(
            f"torch is built for CUDA {machine.cuda} and cannot use the NVIDIA card of this machine",
            f"see that nvidia-smi lists it, and that its driver is new enough for CUDA {machine.cuda}",
        )
    if machine.cuda is not None:
        return Wrong(
            f"torch is built for CUDA {machine.cuda}, and there is no NVIDIA card: gigabytes that nothing uses",
            "nothing, unless you want the room: then a new environment, with first of all"
            " pip install torch --index-url https://download.pytorch.org/whl/cpu",
        )
    return None


def _threads(machine: Machine) -> Wrong | None:
    allowed, threads = machine.allowed, machine.threads
    where = "" if machine.omp is None else f", by OMP_NUM_THREADS={machine.omp}"
    if threads > allowed:
        bound = _cores(allowed)
        if machine.quota is not None and allowed < machine.affinity:
            bound = f"a quota of {_cores(machine.quota)}"
        return Wrong(
            f"torch computes with {threads} threads{where}, and this process has {bound}: they wait for one another",
            f"export OMP_NUM_THREADS={allowed}, or --threads {allowed}",
        )
    if machine.omp is not None and 2 * threads < allowed:  # half of the cores are often hyperthreads
        return Wrong(
            f"torch computes with {threads} of {_cores(allowed)}{where}, which was left in the environment",
            f"unset OMP_NUM_THREADS, or --threads {allowed}",
        )
    return None


def _wait(machine: Machine) -> Wrong | None:
    slow = {
        "active": "threads that wait keep their cores, and are slower beside other programs",
        "passive": "threads that wait sleep at once, and are slower where no other program runs",
    }
    policy = (machine.wait or "").lower()
    if policy not in slow or machine.device == "cuda":
        return None
    return Wrong(f"OMP_WAIT_POLICY={policy}: {slow[policy]}", "unset OMP_WAIT_POLICY")


def _load(machine: Machine) -> Wrong | None:
    if machine.load < max(machine.cores, 1):
        return None
    return Wrong(
        f"the machine is busy: a load of {machine.load:.1f} on {_cores(machine.cores)}; all takes longer, and"
        " the speeds here are too low",
        "wait, or end what else runs (top shows it)",
    )


def _precision(machine: Machine) -> Wrong | None:
    chosen = machine.precision
    other = "float32" if chosen == "bfloat16" else "bfloat16"
    if not {chosen, other} <= machine.flops.keys() or machine.flops[other] <= MUCH * machine.flops[chosen]:
        return None
    return Wrong(
        f"{chosen} is chosen, and {other} is {machine.flops[other] / machine.flops[chosen]:.1f} times as fast here",
        f"--precision {other}",
    )


def _memory(machine: Machine) -> Wrong | None:
    free, total = machine.memory
    if free >= SHORT_MEMORY:
        return None
    return Wrong(
        f"{free / 1e9:.1f} GB of {total / 1e9:.1f} GB of memory are free",
        "close what holds it, or draw and train less at once: -n 1, a smaller --set train.batch",
    )


def _disk(machine: Machine) -> Wrong | None:
    if machine.disk >= SHORT_DISK:
        return None
    return Wrong(f"{machine.disk / 1e9:.1f} GB of the disk are free here", "make room, or --out on another disk")


def _cores(count: float) -> str:
    return f"{count:g} core{'' if count == 1 else 's'}"


def look() -> Machine:
    """The machine that this is; measuring its speed takes a second or two."""
    import shutil

    import torch

    from sfumato import machine
    from sfumato.cli.cores import allowed_cores

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # before the measurement makes its own
    device = machine.pick_device()
    affinity, quota = allowed_cores()
    return Machine(
        device=device.type,
        cores=os.cpu_count() or 1,
        affinity=affinity,
        quota=quota,
        load=load,
        threads=torch.get_num_threads(),
        wait=os.environ.get("OMP_WAIT_POLICY"),
        omp=os.environ.get("OMP_NUM_THREADS"),
        precision=machine.pick_precision(device),
        flops=machine.speeds(device),
        cuda=torch.version.cuda,
        nvidia=_has_nvidia(),
        memory=machine.memory(device),
        disk=shutil.disk_usage(".").free,
    )


def _has_nvidia() -> bool:
    """Whether there is a card of NVIDIA's, by what Linux lists of the PCI bus: vendor 0x10de, class display."""
    from pathlib import Path

    from sfumato.cli.cores import words

    devices = Path("/sys/bus/pci/devices").glob("*")
    cards = (one for one in devices if words(one / "vendor") == ["0x10de"])
    return any(text.startswith("0x03") for one in cards for text in words(one / "class"))
