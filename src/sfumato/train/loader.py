"""Batches that are made ahead of the steps that want them, by processes that may die or hang."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from torch.utils.data import DataLoader

from sfumato.errors import WorkerError
from sfumato.train.batches import Batch, Batches

WORKERS = 4
SECONDS_A_LOOK = 5.0
"""Seconds between two looks at whether the workers are alive."""
PATIENCE = 24
"""How many looks in a row may find no batch: two minutes."""


def batches(
    dataset: Batches,
    steps: Sequence[int],
    workers: int = 0,
    pin: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Batch]:
    """The batches of `steps`, made ahead by so many `workers`; ends early if `stop` while none comes.

    Raises a `WorkerError` for a worker that died, or when no batch has come for `PATIENCE` looks; no worker outlives
    the iterator.
    """
    if not workers:
        yield from map(dataset.__getitem__, steps)
        return
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        pin_memory=pin,
        timeout=SECONDS_A_LOOK,
        worker_init_fn=_leave_signals,
    )
    with _workers(lambda: iter(loader)) as (source, processes):
        for step in steps:
            batch = _next(source, processes, step, stop)
            if batch is None:
                return
            yield batch


def _next(
    source: Iterator[Batch],
    processes: list[BaseProcess],
    step: int,
    stop: Callable[[], bool],
) -> Batch | None:
    """The next batch; None if `stop` comes first."""
    for _ in range(PATIENCE):
        try:
            return next(source)
        except (RuntimeError, OSError, EOFError) as error:  # of the last two, where one dies as its tensors are fetched
            if not isinstance(error, RuntimeError):
                closed = wait([process.sentinel for process in processes], timeout=SECONDS_A_LOOK)
                for process in processes:
                    if process.sentinel in closed:
                        process.join()  # its files are closed a moment before it has ended
            if ended := [process.exitcode for process in processes if not process.is_alive()]:
                raise WorkerError(
                    f"a process that makes batches ahead ended ({_why(ended[0])}), before step {step}: is memory short,"
                    " or that of /dev/shm?"
                ) from error
            if "timed out" not in str(error):
                raise
        if stop():
            return None
    raise WorkerError(
        f"the processes that make batches ahead have given none for {PATIENCE * SECONDS_A_LOOK:g} s, before step"
        f" {step}: is the disk with the run's folder still there?"
    )


@contextmanager
def _workers(
    start: Callable[[], Iterator[Batch]],
) -> Iterator[tuple[Iterator[Batch], list[BaseProcess]]]:
    """An iterator that `start` gives, and the processes that it began, which end with the block.

    torch raises an error about a worker that died wherever the program happens to be, which may be in the middle of an
    update of the weights: here it is left to the next batch to say.
    """
    main = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    before = set(multiprocessing.active_children())
    source = start()
    processes = [process for process in multiprocessing.active_children() if process not in before]
    raising = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if main else None
    try:
        yield source, processes
    except BaseException:
        for process in processes:  # one that hangs would be waited for
            process.kill()
        raise
    finally:
        del source
        for process in processes:
            process.kill()
            process.join(SECONDS_A_LOOK)
        if main:
            signal.signal(signal.SIGCHLD, raising)


def _leave_signals(number: int) -> None:
    """In a worker: what ends the training is for its first process to hear, which then ends its workers."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _why(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
