"""Work done ahead of its reader, in threads, and handed over in order."""

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

_T = TypeVar("_T")

_TRIED = 16
# Below this, in seconds, threads that wait for the interpreter's lock in turn are slower than one that never waits.
_WORTH_A_THREAD = 5e-4


def in_order(work: Callable[[int], _T], n: int) -> Generator[_T, None, None]:
    """work(0) to work(n - 1), in order.

    The first few are done as they are asked for and timed; if they are slow, the rest run in up to eight threads, a few
    ahead of the reader, which pays where the work leaves the interpreter's lock, as Pillow's decoders do. Closing the
    generator ends the threads.
    """
    spent = 0.0
    for i in range(min(n, _TRIED)):
        begun = perf_counter()
        result = work(i)
        spent += perf_counter() - begun
        yield result
    if spent < _WORTH_A_THREAD * _TRIED:
        yield from map(work, range(_TRIED, n))
        return
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="sfumato-data") as pool:
        for i in range(_TRIED, n):
            waiting.append(pool.submit(work, i))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
