"""Weights that are read when they are first needed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import RLock

from torch import Tensor, nn

from sfumato.files import aligned

ReadState = Callable[[], dict[str, Tensor]]
"""Gives the state of a module, as it is to be used."""


class Lazy:
    """Modules of a system, by name, whose weights are not read yet: they are on the meta device, and `fill` gives them
    their state.

    `begin` has a state read by a thread beside the caller's. A module changes in `fill` alone, so nobody sees one in
    part; an error of a thread is raised there, and the next `fill` reads again. `lock` is for whoever changes more of a
    module that was just filled, so that nobody sees it half done. A copy or a pickle has nothing left to read: whoever
    copies fills first.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self._waiting: dict[str, tuple[nn.Module, ReadState]] = {}
        self._coming: dict[str, Future[dict[str, Tensor]]] = {}

    def defer(self, name: str, module: nn.Module, read: ReadState) -> None:
        self._waiting[name] = module, read

    def forget(self, name: str) -> None:
        """For a module that another took the place of."""
        with self.lock:
            self._waiting.pop(name, None)
            self._coming.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def begin(self, name: str) -> None:
        """Read in a thread, if there is anything to read; returns at once."""
        with self.lock:
            coming = self._coming.get(name)
            failed = coming is not None and coming.done() and coming.exception() is not None
            if name in self._waiting and (coming is None or failed):
                thread = ThreadPoolExecutor(1, "weights")
                self._coming[name] = thread.submit(self._waiting[name][1])
                thread.shutdown(wait=False)

    def fill(self, name: str) -> None:
        """Give the module its weights, unless it has them."""
        with self.lock:
            if name not in self._waiting:
                return
            module, read = self._waiting[name]
            coming = self._coming.get(name)
            try:
                state = read() if coming is None else coming.result()
            finally:
                if coming is None or coming.done():  # one that is still on its way is waited for the next time
                    self._coming.pop(name, None)
            module.load_state_dict({key: aligned(value) for key, value in state.items()}, assign=True)
            del self._waiting[name]

    def __reduce__(self) -> tuple[type["Lazy"], tuple[()]]:
        return Lazy, ()
