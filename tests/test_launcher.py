"""What each of several processes does."""

import pytest

from sfumato import launcher
from sfumato.errors import InputError
from sfumato.launcher import Part


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*launcher.COUNTS, *launcher.RANKS, *launcher.LOCAL):
        monkeypatch.delenv(name, raising=False)


def test_all_parts_are_done_once() -> None:
    parts = [Part(rank, 3).of(range(10)) for rank in range(3)]
    assert [list(part) for part in parts] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert list(launcher.share().of(range(3))) == [0, 1, 2], "without a launcher"


def test_a_launcher_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert launcher.share() == Part(3, 4, 1)
    monkeypatch.setenv("RANK", "4")
    with pytest.raises(InputError, match="WORLD_SIZE is 4 and the rank is 4: unset it, or start by torchrun"):
        launcher.share()
    monkeypatch.delenv("RANK")
    with pytest.raises(InputError, match="WORLD_SIZE is 4 and RANK is not set"):
        launcher.share()
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(InputError, match="WORLD_SIZE is 'many', which is no number of a process"):
        launcher.share()
