"""`sfumato train`"""

from pathlib import Path
from typing import Annotated

import typer


def train_command(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of pictures or sounds, a .zip, a .npz, Parquet or IDX files, hub:OWNER/NAME, or digits.",
            metavar="DATA",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the run.", metavar="DIR")] = ...,  # type: ignore[assignment]
    recipe: Annotated[str | None, typer.Option(help="A recipe that ships, or a .toml file.", metavar="NAME")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train this long.")] = None,
    images: Annotated[int | None, typer.Option(help="Train on this many pictures, or other data, in all.")] = None,
    steps: Annotated[int | None, typer.Option(help="Train this many steps in all.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: --set train.batch=64", metavar="KEY=VALUE")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Resume though recipe, data or version differ.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; the best there is if left out.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16; by the machine if left out.")] = None,
) -> None:
    """Train a system on your own data. Without DATA and --recipe, --resume takes the run's own."""
    from sfumato.train import train
    from sfumato.train.monitor import Terminal

    train(
        data,
        out=out,
        recipe=recipe,
        settings=settings or (),
        steps=steps,
        images=images,
        minutes=minutes,
        resume=resume,
        accept_changes=accept_changes,
        device=device,
        precision=precision,
        monitor=Terminal(),
    )
