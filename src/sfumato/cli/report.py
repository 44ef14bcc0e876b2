"""What `sfumato generate` shows while it draws: a bar, and a line for every file."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.progress import Progress

from sfumato import logs
from sfumato.system.draw import Frame
from sfumato.wording import one_line

_log = logs.EventLogger(__name__)


def save(frames: Iterator[Frame], out: Path) -> None:
    """Draw the frames behind a bar, and write every sample as soon as it is there."""
    live = logs.bars()
    with Progress(console=logs.console(), transient=True, disable=not live, redirect_stdout=False) as bar:
        task = bar.add_task("drawing")
        for frame in frames:
            bar.update(task, total=frame.total, completed=frame.done)
            if frame.samples is not None:
                for path in frame.samples.save(out):
                    # in a terminal the bar has a line of its own, below; anywhere else a path is for a program
                    put = partial(bar.console.out, highlight=False) if live and sys.stdout.isatty() else print
                    put(one_line(str(path)))
                    _log.info(str(path), event="picture", path=str(path))
