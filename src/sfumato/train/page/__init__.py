"""The page of a run: `index.html` in its folder, for people to watch a training by."""

from sfumato.train.page.browser import show_page
from sfumato.train.page.page import RunPage

__all__ = ["RunPage", "show_page"]
