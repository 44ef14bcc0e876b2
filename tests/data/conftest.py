"""Folders of small pictures, made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_pictures import encode, noise


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that fills a folder: bytes and text as given, a list as JSON lines, None as a picture."""

    def fill(files: dict[str, object], root: str = "pictures") -> Path:
        for i, (name, content) in enumerate(files.items()):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                content = encode(noise(6, 4, seed=i))
            elif isinstance(content, list):
                content = "\n".join(json.dumps(row) for row in content)
            path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
        return tmp_path / root

    return fill
