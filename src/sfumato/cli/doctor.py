"""`sfumato doctor`"""


def doctor() -> None:
    """Say what this machine has and what will be chosen."""
    import os
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    import torch

    from sfumato import machine
    from sfumato.cli.table import show
    from sfumato.train.recipe import known

    device = machine.pick_device()
    free, total = machine.memory(device)
    precision = machine.pick_precision(device)
    why = "the device computes it fast" if precision == "bfloat16" else "bfloat16 is no faster on this device"
    rows = [
        ("Sfumato", version("sfumato")),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("torch", torch.__version__),
        ("device", f"{device}: {machine.name(device)}"),
        ("precision", f"{precision}: {why}"),
        ("memory", f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"),
        ("cores", f"{os.cpu_count()}, of which torch uses {torch.get_num_threads()}"),
        ("disk", f"{shutil.disk_usage('.').free / 1e9:.1f} GB free here"),
        ("recipes", ", ".join(known())),
    ]
    for extra, module, package, use in EXTRAS:
        try:
            found = version(package) if find_spec(module) else None
        except PackageNotFoundError:
            found = None
        rows.append((package, found or f"missing: {use} needs it; pip install sfumato[{extra}]"))
    show(rows)


EXTRAS = [
    ("digits", "sklearn", "scikit-learn", "the data set `digits`"),
    ("parquet", "pyarrow", "pyarrow", "Parquet"),
    ("hub", "datasets", "datasets", "a data set on the Hub"),
]
