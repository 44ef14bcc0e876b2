"""`sfumato doctor`"""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from sfumato.cli.checkup import Machine


class Extra(NamedTuple):
    """A package that `pip install sfumato[name]` adds: imported as `module`, and needed for `use`."""

    name: str
    module: str
    package: str
    use: str


EXTRAS = [
    Extra("audio", "soundfile", "soundfile", "reading and writing sounds"),
    Extra("audio", "soxr", "soxr", "resampling sounds"),
    Extra("digits", "sklearn", "scikit-learn", "the data set `digits`"),
    Extra("hub", "datasets", "datasets", "a data set on the Hub"),
    Extra("parquet", "pyarrow", "pyarrow", "Parquet"),
]
"""The optional dependencies of pyproject.toml, but for those of developers."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what this machine has, what is chosen, and what is wrong."""
    from sfumato.cli.checkup import look, troubles
    from sfumato.cli.table import show, show_groups, show_json

    machine = look()
    wrong = troubles(machine)
    groups = {**_facts(machine), "extras": [(extra.package, _state(extra)) for extra in EXTRAS]}
    if as_json:
        facts = {name: value for own in groups.values() for name, value in own}
        show_json([("facts", facts), ("machine", asdict(machine)), ("wrong", [one._asdict() for one in wrong])])
    elif sys.stdout.isatty():
        show_groups(groups, wrong)
    else:
        ends = [line for one in wrong for line in (("wrong", one.what), ("do", one.do))]
        show([*(fact for own in groups.values() for fact in own), *ends])


def _facts(found: "Machine") -> dict[str, list[tuple[str, str]]]:
    """What a training or a drawing on this machine depends on."""
    import platform
    from importlib.metadata import version

    import torch

    from sfumato import machine
    from sfumato.train.recipe import recipe_names

    device = machine.pick_device()
    free, total = found.memory
    fast = machine.fast_bfloat16(device.type)
    why = "the device computes it fast" if fast else "bfloat16 is no faster on this device"
    return {
        "versions": [
            ("Sfumato", version("sfumato")),
            ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
            ("torch", f"{torch.__version__}, {f'CUDA {found.cuda}' if found.cuda else 'without CUDA'}"),
        ],
        "machine": [
            ("device", f"{device}: {machine.name(device)}"),
            ("cores", _cores(found)),
            ("threads", _threads(found)),
            ("memory", f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"),
            ("disk", f"{found.disk / 1e9:.1f} GB free here"),
        ],
        "speed": [
            ("precision", f"{found.precision}: {why}"),
            *((precision, f"{flops / 1e9:,.0f} GFLOP/s in convolutions") for precision, flops in found.flops.items()),
            ("instructions", ", ".join(_instructions()) or "none for bfloat16"),
        ],
        "here": [("recipes", ", ".join(recipe_names()))],
    }


def _cores(found: "Machine") -> str:
    bounds = [f"{found.affinity} of them for this process"] if found.affinity != found.cores else []
    bounds += [f"a quota of {found.quota:g}"] if found.quota is not None else []
    return ", ".join([str(found.cores), *bounds, f"load {found.load:.1f} now"])


def _threads(found: "Machine") -> str:
    where = "not set" if found.omp is None else found.omp
    return f"{found.threads} in torch; OMP_NUM_THREADS {where}, OMP_WAIT_POLICY {found.wait or 'not set'}"


def _instructions() -> list[str]:
    """What the CPU has for bfloat16."""
    import torch

    known = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "ARM BF16"}
    return [name for key, name in known.items() if torch.cpu.get_capabilities().get(key)]


def _state(extra: Extra) -> str:
    """The version of an extra's package, or how to install it."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    try:
        found = version(extra.package) if find_spec(extra.module) else None
    except PackageNotFoundError:
        found = None
    return found or f"missing: {extra.use} needs it; pip install sfumato[{extra.name}]"
