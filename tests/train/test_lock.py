"""One training in a folder at a time; what holds it is freed by any death."""

import errno
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import begin, everything

from sfumato.errors import InputError, ResumeError, StorageError
from sfumato.train import lock
from sfumato.train.monitor import Quiet

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
BUSY = rf"is in use: process {os.getpid()} on .* trains there since \d{{4}}-\d\d-\d\d \d\d:\d\d; wait for its end"


def in_child(act: Callable[[], Any]) -> int:
    """The exit code of a child that does something: 0 for nothing, 3 for a `ResumeError`, −9 if it is killed."""
    if not (pid := os.fork()):
        code = 1
        try:
            act()
            code = 0
        except ResumeError:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def hold(folder: Path) -> None:
    with lock.held(folder):
        pass


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    lock.check_free(folder)
    with lock.held(folder):
        for refused in (hold, lock.check_free):
            with pytest.raises(ResumeError, match=rf"{folder} {BUSY}"):
                refused(folder)
            assert in_child(lambda refused=refused: refused(folder)) == 3
    assert not list(tmp_path.iterdir()), "and what was made for it goes"
    tmp_path.joinpath("mine").mkdir()
    hold(tmp_path / "mine")
    assert in_child(lambda: hold(tmp_path / "mine")) == 0
    assert not list((tmp_path / "mine").iterdir())


def test_a_lock_is_freed_by_death(tmp_path: Path) -> None:
    def die() -> None:
        with lock.held(tmp_path):
            os.kill(os.getpid(), 9)

    assert in_child(die) == -9
    assert [path.name for path in tmp_path.iterdir()] == [lock.LOCK_FILE]
    lock.check_free(tmp_path)
    hold(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_forked_child_neither_keeps_nor_frees_a_lock(tmp_path: Path) -> None:
    """Such as one that reads ahead, and lives on for a while when its parent is killed."""
    with lock.held(tmp_path):
        reads, writes = os.pipe()
        if not (pid := os.fork()):
            os.close(writes)
            os.read(reads, 1)
            os._exit(0)
    hold(tmp_path)
    os.write(writes, b".")
    os.waitpid(pid, 0)
    context = lock.held(tmp_path)
    with context:
        assert in_child(lambda: context.__exit__(None, None, None)) == 0
        with pytest.raises(ResumeError):
            lock.check_free(tmp_path)


def test_whoever_waits_for_a_lock_that_is_removed_takes_the_new_one(tmp_path: Path) -> None:
    stop, held = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            try:
                with lock.held(tmp_path):
                    held.append(1)
                    assert len(held) == 1, "two at once"
                    held.pop()
            except ResumeError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.wait(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not held


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", fail)


@pytest.mark.usefixtures("no_locks")
def test_on_a_disk_without_locks_processes_of_this_machine_are_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with lock.held(tmp_path):
        assert in_child(lambda: hold(tmp_path)) == 3 and in_child(lambda: lock.check_free(tmp_path)) == 3
    assert caplog.messages == [f"the disk of {tmp_path} has no locks: see that no other machine trains there"]
    dead = {"host": os.uname().nodename, "pid": 2**22 + 1, "since": "then"}
    for text in (json.dumps(dead), "", "[" * 2000, '{"pid": 1}', '{"host": [], "pid": true, "since": {}}'):
        (tmp_path / lock.LOCK_FILE).write_text(text)
        hold(tmp_path)


def test_a_lock_that_says_nothing_of_its_holder_holds(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        for text in ("", "{", json.dumps({"host": "x" * 300 + "\n", "pid": "\x1b", "since": None})):
            (tmp_path / lock.LOCK_FILE).write_text(text)
            with pytest.raises(ResumeError, match="is in use: (a process|process .*) trains there") as caught:
                lock.check_free(tmp_path)
            assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / lock.LOCK_FILE).mkdir()
    with pytest.raises(StorageError, match=f"cannot write {tmp_path}: Is a directory"):
        hold(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write .*file"):
        hold(tmp_path / "file" / "run")

    def closed(*_: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(StorageError, match="Permission denied"):
        hold(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / lock.LOCK_FILE).symlink_to(tmp_path / "theirs")
    with pytest.raises(StorageError):
        hold(tmp_path / "run")
    assert (tmp_path / "theirs").read_text() == "mine"


# Runs -----------------------------------------------------------------------------------------------------------------


class Beside(Quiet):
    """Tries something once, at one moment of a training."""

    def __init__(self, moment: str, act: Callable[[], Any]) -> None:
        self.moment, self.act = moment, act
        self.found: list[str] = []

    def _at(self, moment: str) -> None:
        if moment == self.moment and not self.found:
            with pytest.raises((ResumeError, InputError)) as caught:
                self.act()
            self.found.append(str(caught.value))

    def preparing(self, done: int, total: int, what: str = "reading pictures") -> None:
        self._at("preparing")

    def plan(self, plan: Any) -> None:
        self._at("plan")

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        self._at("step")


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"


@pytest.mark.parametrize("moment", ["preparing", "plan", "step"])
def test_a_second_start_is_refused_whatever_the_first_is_at(moment: str, data: Path, out: Path, tmp_path: Path) -> None:
    beside = Beside(moment, lambda: begin(data, out, "train.seed=1", steps=2))
    begin(data, out, steps=2, monitor=beside)
    assert re.search(BUSY, beside.found[0])
    begin(data, tmp_path / "alone", steps=2)
    assert everything(out / "system") == everything(tmp_path / "alone" / "system")


@pytest.mark.parametrize("moment", ["preparing", "plan", "step"])
def test_a_second_resume_is_refused_whatever_the_first_is_at(moment: str, data: Path, out: Path) -> None:
    begin(data, out, steps=1)
    beside = Beside(moment, lambda: begin(None, out, resume=True, steps=3))
    begin(None, out, resume=True, steps=2, monitor=beside)
    assert re.search(BUSY, beside.found[0])
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_a_run_that_changed_since_it_was_looked_at_is_not_gone_on_with(
    data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(data, out, steps=1)
    held = lock.held

    def late(folder: Path) -> Any:
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**record, "precision": "bfloat16"}))
        return held(folder)

    monkeypatch.setattr(lock, "held", late)
    with pytest.raises(ResumeError, match=r"run is in use: its run\.json has just changed"):
        begin(None, out, resume=True, steps=2)
