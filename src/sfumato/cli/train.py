"""`sfumato train`"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from sfumato.cli import complete
from sfumato.errors import InputError
from sfumato.foreign.training import answer


class TrainCommand(TyperCommand):
    """Training as a command, which knows what other trainers call its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {name for parameter in self.params for name in parameter.opts}
        for word in (arg.partition("=")[0] for arg in args if arg.startswith("--")):
            if word not in own and (text := answer(word)) is not None:
                raise InputError(text)
        return super().parse_args(ctx, args)


def train_command(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of pictures or sounds, a .zip, a .npz, Parquet or IDX files, hub:OWNER/NAME, or digits.",
            metavar="DATA",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the run; runs/NAME if left out.", metavar="DIR")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe that ships, or a .toml file.", metavar="NAME", autocompletion=complete.recipes_that_ship
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Train this long.")] = None,
    images: Annotated[int | None, typer.Option(help="Train on this many pictures, or other data, in all.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Pass over the data this often in all.")] = None,
    steps: Annotated[int | None, typer.Option(help="Train this many steps in all.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: --set train.batch=64", metavar="KEY=VALUE")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, or the last of DATA.")] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Resume though recipe, data or version differ.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan alone, and leave nothing behind.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; the best there is if left out.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16; by the machine if left out.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU; torch's own number if left out.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show the run's page in the browser.")] = False,
) -> None:
    """Train a system on your own data. Without DATA and --recipe, --resume takes the run's own."""
    from sfumato import logs
    from sfumato.train import train
    from sfumato.train.monitor import Terminal

    train(
        data,
        out=out,
        recipe=recipe,
        settings=settings or (),
        steps=steps,
        images=images,
        epochs=epochs,
        minutes=minutes,
        resume=resume,
        accept_changes=accept_changes,
        dry_run=dry_run,
        device=device,
        precision=precision,
        threads=threads,
        open_page=open_page,
        monitor=Terminal() if logs.bars() else None,
    )
