"""A process that has imported everything once, and runs the command line in children that may be killed.

`with Nursery(folder) as nursery: child = nursery.start("train", …)`; it costs a fork, not seconds of imports.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SECONDS = 60


@dataclass
class Child:
    """One run of the command line."""

    pid: int
    stderr: Path
    pipe: IO[str]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the child does."""
        limit = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < limit, f"waited in vain; the child said: {self.stderr.read_text()}"
            time.sleep(0.001)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)  # it stays a zombie, and its number its own, until the nursery is asked for `end`

    def end(self) -> int:
        """Its exit code, or the negative number of the signal that killed it."""
        self.pipe.write("end\n")
        self.pipe.flush()
        return int(json.loads(self.answer()))

    def answer(self) -> str:
        raise NotImplementedError


class Nursery:
    """Starts children, one at a time."""

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

    def start(self, *words: str) -> Child:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.count += 1
        stderr = self.folder / f"stderr-{self.count}"
        self.process.stdin.write(json.dumps([str(stderr), list(words)]) + "\n")
        self.process.stdin.flush()
        child = Child(json.loads(self.process.stdout.readline()), stderr, self.process.stdin)
        child.answer = self.process.stdout.readline  # type: ignore[method-assign]
        return child


def serve() -> None:
    """Read what to run, fork, say the child's number; on `end`, wait for it and say how it ended."""
    import torch
    import torch._dynamo  # which a training would import, by way of its optimizer

    import sfumato.train.run  # noqa: F401
    from sfumato.cli import main

    torch.set_num_threads(1)
    for line in sys.stdin:
        stderr, words = json.loads(line)
        if not (pid := os.fork()):
            run(main, stderr, words)
        print(pid, flush=True)
        sys.stdin.readline()
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(main: Callable[[], None], stderr: str, words: list[str]) -> None:
    """The child: the command line, and the end of the process."""
    code = 0
    file = os.open(stderr, os.O_CREAT | os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["sfumato", *words]
    try:
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
