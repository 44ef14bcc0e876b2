"""A page in the browser of whoever sits at the machine."""

import os
import sys
import webbrowser
from pathlib import Path
from threading import Thread


def show_page(path: Path) -> bool:
    """Open a page in the browser; whether there is one to open it in. What a browser does or says holds up nothing."""
    if not _has_screen():
        return False
    Thread(target=_open, args=[path.absolute().as_uri()], daemon=True).start()
    return True


def _has_screen() -> bool:
    """Whether somebody may look at a browser here: one within a terminal, which is all that there is without a screen,
    would take the terminal away from the training."""
    if os.environ.get("BROWSER") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    return sys.platform in ("win32", "darwin") and "SSH_CONNECTION" not in os.environ


def _open(address: str) -> None:
    try:
        webbrowser.open(address)
    except Exception:  # it is only to look at
        return
