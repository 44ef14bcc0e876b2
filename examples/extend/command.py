"""A command: a function whose arguments are its options."""

from typing import Annotated

import typer


def levels(
    schedule: Annotated[str, typer.Argument(help="A schedule, as in cosine or vp,beta_max=10.")] = "cosine",
    spacing: Annotated[str, typer.Option(help="Which times are visited.")] = "trailing",
    steps: Annotated[int, typer.Option(help="In how many steps.")] = 10,
) -> None:
    """Show the levels that a sampler visits."""
    from sfumato.cli.table import show  # within the function: `--help` must import no torch
    from sfumato.core import grid
    from sfumato.parts import SCHEDULES, SPACINGS

    visited = grid.levels(SCHEDULES.parse(schedule), SPACINGS.parse(spacing), steps)
    show(
        [
            (f"t = {float(level.t):g}", f"{float(level.alpha):.4f}·x_0 + {float(level.sigma):.4f}·eps")
            for level in visited
        ]
    )
