"""A disk that is full anywhere in a save, and a folder that may not be written to: what was there stays."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scale import counts

import sfumato
from sfumato import serial
from sfumato.errors import StorageError
from sfumato.train.plan import Budget
from train.nursery import Nursery
from train.small_runs import begin, digest, everything, last_step, newest, pictures_file, tensors, trainer

NAMED = r"^no space to write .*: [\d,.]+ MB needed, [\d,.]+ MB free; what was there before is untouched$"


def filling(space: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, no more than so many bytes of tensors find space: the next is written as far as it goes."""
    pieces, left = serial.pieces, space

    def fill(*arguments: Any) -> Iterator[bytes]:
        nonlocal left
        if len(arguments) == 1:  # for a hash, and not for a file
            yield from pieces(*arguments)
            return
        for piece in map(bytes, pieces(*arguments)):
            yield piece[:left]
            if len(piece) > left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left -= len(piece)

    monkeypatch.setattr(serial, "pieces", fill)


@counts("levels", 10, 50)
def test_a_disk_that_is_full_anywhere_in_a_save_leaves_what_was_there(
    levels: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the checkpoint, or in the system after it."""
    begin(data, tmp_path / "once", steps=3)
    begin(data, tmp_path / "start", steps=2)
    size = sum(path.stat().st_size for path in (tmp_path / "start").glob("*/*.safetensors"))
    for level in range(levels):
        out = shutil.copytree(tmp_path / "start", tmp_path / str(level))
        system = everything(out / "system")
        own = trainer(data, out)
        own.resume(newest(out))
        with monkeypatch.context() as patch:
            filling(size * level // levels, patch)
            with pytest.raises(StorageError, match=NAMED):
                own.run(Budget(3))
        assert last_step(out) in (2, 3) and tensors(newest(out)), "a whole checkpoint is there"
        assert everything(out / "system") == system and sfumato.load(out, "cpu", "float32")
        endings = {".json", ".jsonl", ".html", ".png", ".safetensors"}
        assert {path.suffix for path in out.rglob("*") if path.is_file()} <= endings
        begin(None, out, resume=True, steps=3)
        assert digest(newest(out)) == digest(newest(tmp_path / "once"))
        assert everything(out / "system") == everything(tmp_path / "once" / "system")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_that_may_not_be_written_to_is_refused_and_left_alone(inside: bool, nursery: Nursery) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "folder"
        folder.mkdir()
        data = pictures_file(Path(place) / "data.npz")
        for path, mode in ((Path(place), 0o755), (data, 0o644), (folder, 0o555)):
            path.chmod(mode)
        out = folder / "run" if inside else folder
        words = ("train", str(data), "--recipe", "digits", "--out", str(out), "--steps", "1", "--device", "cpu")
        child = nursery.start(*words, first=("obeying_modes",))
        assert child.end() == StorageError.code
        lines = child.stderr.read_text().splitlines()
        assert lines == [f"sfumato: cannot write {out}: permission denied; choose a folder that you may write to"]
        assert not list(folder.iterdir())
        folder.chmod(0o755)
