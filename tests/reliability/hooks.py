"""What the nursery does to a child before its command line begins: it sees to it that something happens later."""

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from sfumato.train.trainer import Trainer


def killed(folder: str, event: str, part: str, occurrence: int, since: int, note: str) -> None:
    """`kill -9` just before the process does something to a file below `folder/part` for the `occurrence`-th time, in
    the saves from the step `since` on.

    `event` is Python's name of what is done: "open", "os.rename" or "os.remove". A file that is half written at that
    moment is cut short, anywhere, as it may be. `note` gets the step that was then to be saved.
    """
    place, seen, step = os.path.join(folder, part), 0, -1
    save = Trainer.save

    def watched(self: Trainer) -> None:
        nonlocal step
        step = self.step
        save(self)

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if name != event or step < since or not str(arguments[0]).startswith(place):
            return
        seen += 1
        if seen == occurrence:
            cut_short(Path(place), random.Random(occurrence))
            Path(note).write_text(json.dumps(step))
            os.kill(os.getpid(), signal.SIGKILL)

    Trainer.save = watched
    sys.addaudithook(audit)


def cut_short(folder: Path, rng: random.Random) -> None:
    """Leave only the beginning of every file in `folder` that is being written."""
    for path in folder.glob(".*.part"):
        os.truncate(path, int(rng.random() * path.stat().st_size))


def signalled(step: int, *numbers: int) -> None:
    """Signals arrive in the middle of so many steps made; none is ignored from the start, as SIGHUP is under nohup."""
    update, made = Trainer._update, 0
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def watched(self: Trainer, batch: Any) -> float:
        nonlocal made
        made += 1
        if made == step:
            for number in numbers:
                os.kill(os.getpid(), number)
        return update(self, batch)

    Trainer._update = watched


def obeying_modes() -> None:
    """The child is nobody from here on, where it was root, whom no mode keeps from writing."""
    if os.getuid() == 0:
        os.setuid(65534)


def with_workers(number: int) -> None:
    """Batches are made ahead by so many processes, as they are where there is a GPU."""
    Trainer.workers = property(lambda self: number, lambda self, value: None)  # type: ignore[assignment]


def drawn(system: str, out: str, seeds: list[int], options: dict[str, Any]) -> None:
    """Draws, keeps the tensor, and leaves no command line to run."""
    import torch

    import sfumato

    torch.set_num_threads(1)
    torch.save(sfumato.load(system, "cpu", "float32").generate(seeds=seeds, **options).data, out)
    sys.exit(0)
