"""`sfumato doctor`"""

from typing import NamedTuple


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


def doctor() -> None:
    """Say what this machine has and what will be chosen."""
    from sfumato.cli.table import show

    show([*_facts(), *((extra.package, _state(extra)) for extra in EXTRAS)])


def _facts() -> list[tuple[str, str]]:
    """What a training or a drawing on this machine depends on."""
    import os
    import platform
    import shutil
    from importlib.metadata import version

    import torch

    from sfumato import machine
    from sfumato.train.recipe import recipe_names

    device = machine.pick_device()
    free, total = machine.memory(device)
    precision = machine.pick_precision(device)
    why = "the device computes it fast" if precision == "bfloat16" else "bfloat16 is no faster on this device"
    return [
        ("Sfumato", version("sfumato")),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("torch", torch.__version__),
        ("device", f"{device}: {machine.name(device)}"),
        ("precision", f"{precision}: {why}"),
        ("memory", f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"),
        ("cores", f"{os.cpu_count()}, of which torch uses {torch.get_num_threads()}"),
        ("disk", f"{shutil.disk_usage('.').free / 1e9:.1f} GB free here"),
        ("recipes", ", ".join(recipe_names())),
    ]


def _state(extra: Extra) -> str:
    """The version of an extra's package, or how to install it."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    try:
        found = version(extra.package) if find_spec(extra.module) else None
    except PackageNotFoundError:
        found = None
    return found or f"missing: {extra.use} needs it; pip install sfumato[{extra.name}]"
