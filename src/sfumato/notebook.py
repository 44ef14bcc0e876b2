"""Progress in a notebook, by IPython's display alone: what a notebook shows needs nothing more to be installed."""

import sys
import time
from html import escape
from types import TracebackType
from typing import Any

DELAY, EVERY = 1.0, 0.2
"""Seconds before a bar appears, and between two states of it."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")  # whoever runs a notebook has imported it
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class NotebookBar:
    """A bar below a cell that runs for longer than a second, gone when it ends; nothing outside of a notebook."""

    def __init__(self) -> None:
        self._live, self._due, self._handle = in_notebook(), time.monotonic() + DELAY, None

    def __enter__(self) -> "NotebookBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._display("", "")

    def show(self, share: float, text: str) -> None:
        """A share of the work is done, from 0 to 1; a text says more."""
        if self._live and time.monotonic() >= self._due:
            bar = f'<progress value="{share:.4f}" max="1" style="width:16em;vertical-align:middle"></progress>'
            self._display(f"<div>{bar} <small>{escape(text)}</small></div>", text)
            self._due = time.monotonic() + EVERY

    def _display(self, html: str, text: str) -> None:
        data, display = {"text/html": html, "text/plain": text}, sys.modules["IPython"].display
        if self._handle is None:
            self._handle: Any = display.display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
