"""How often: so many times on every commit, and more before a release, with `pytest -m release`."""

from typing import Any

import pytest


def counts(name: str, every_commit: Any, before_release: Any) -> pytest.MarkDecorator:
    """Give a test its count, or whatever else says how far it goes, as the argument `name`."""
    return pytest.mark.parametrize(name, [every_commit, pytest.param(before_release, marks=pytest.mark.release)])
