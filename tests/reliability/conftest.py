"""Data that runs are made on."""

from pathlib import Path

import pytest

from train.small_runs import pictures_file


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen pictures in three classes."""
    return pictures_file(tmp_path_factory.mktemp("data") / "small.npz")
