"""A process that has imported everything once, and runs the command line in children that may be killed.

`with Nursery(folder) as nursery: child = nursery.start("train", …)`; it costs a fork, not seconds of imports. Children
may live side by side, each with `environment` variables of its own. `first` is what a child does before the command
line: the name of a function in `tests/reliability/hooks.py`, and its arguments.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60


@dataclass
class Child:
    """One run of the command line."""

    pid: int
    stderr: Path
    ask: Callable[..., int]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the child does."""
        limit = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < limit, f"waited in vain; its standard error: {self.stderr.read_text()}"
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)  # it stays a zombie, and its number its own, until the nursery is asked for its end

    def end(self) -> int:
        """Its exit code, or the negative number of the signal that killed it."""
        return self.ask(end=self.pid)


class Nursery:
    """Starts children."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: Any) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(SECONDS)
        self.process.stdout.close()

    def start(self, *words: str, first: Sequence[Any] = (), environment: Mapping[str, str] | None = None) -> Child:
        self.count += 1
        stderr = self.folder / f"stderr-{self.count}"
        pid = self.ask(stderr=str(stderr), words=words, first=first, environment=environment or {})
        return Child(pid, stderr, self.ask)

    def ask(self, **what: Any) -> int:
        """The answer of the process to what it is asked."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def serve() -> None:
    """Read what to run, fork, say the child's number; asked for its `end`, wait for it and say how it ended."""
    import torch
    from accelerate.state import AcceleratorState
    from small_runs import begin, pictures_file

    from sfumato.cli import main

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # what a first training imports and measures, the others have
        begin(pictures_file(Path(folder) / "data.npz"), Path(folder) / "run", steps=1)
    AcceleratorState._reset_state(reset_partial_state=True)
    sys.path.append(str(Path(__file__).parents[1] / "reliability"))
    for line in sys.stdin:
        what = json.loads(line)
        if "end" in what:
            _, status = os.waitpid(what["end"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            run(main, **what)


def run(main: Callable[[], None], stderr: str, words: list[str], first: list[Any], environment: dict[str, str]) -> None:
    """The child: what comes first, the command line, and the end of the process."""
    code = 0
    file = os.open(stderr, os.O_CREAT | os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["sfumato", *words]
    os.environ.update(environment)
    try:
        if first:
            import hooks

            getattr(hooks, first[0])(*first[1:])
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
