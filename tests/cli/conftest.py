"""A system to draw with, and the command line, run within the tests."""

import sys
from pathlib import Path

import numpy as np
import pytest
from program import SMALL, Result, Sfumato

from sfumato.cli import main
from sfumato.train import train


@pytest.fixture
def sfumato(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Sfumato:
    """Runs a command in an empty folder, as the program would."""
    monkeypatch.delenv("SFUMATO_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "400")
    # by `python -m pytest` the program's name in help would be that of pytest
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["sfumato", *(str(word) for word in words)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        assert isinstance(code, int)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen pictures of noise in three classes."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(24) % 3, classes=np.array(["cat", "dog", "hen"]))
    return path


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps. Look, and do not touch."""
    out = tmp_path_factory.mktemp("runs") / "small"
    train(data, out=out, recipe="digits", settings=SMALL, steps=2, device="cpu", precision="float32")
    return out
