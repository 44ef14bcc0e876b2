"""`sfumato export`"""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="The folder of a system or of a run.")],
    out: Annotated[Path, typer.Option(help="The folder for the copy.", metavar="DIR")],
    precision: Annotated[str, typer.Option(help="float32 or bfloat16, which takes half the space.")] = "float32",
    megabytes: Annotated[int, typer.Option(help="The most that a file of weights may hold, in MB.")] = 4096,
) -> None:
    """Write a system to a folder of its own, to be shared or shipped."""
    from sfumato import load
    from sfumato.errors import InputError
    from sfumato.files import check_writable

    if megabytes < 1:
        raise InputError(f"--megabytes must be at least 1, not {megabytes}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: choose a new folder with --out")
    check_writable(out)
    load(model, "cpu", precision).save(out, shard=megabytes * 10**6)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    print(f"{out}: {size / 1e6:.1f} MB in {precision}")
