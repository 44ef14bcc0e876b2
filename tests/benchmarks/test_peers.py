"""The comparison with diffusers: the commands of its processes, and what it makes of their figures."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers

    return peers


class Processes:
    """Stands for the processes: the second side takes twice as long, and each turn longer than the last."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []

    def __call__(self, program: str, *arguments: str) -> str:
        if program == "peer_checkpoint.py":
            Path(arguments[0]).mkdir()
            (Path(arguments[0]) / "model_index.json").write_text("{}")
            return ""
        task = json.loads(arguments[0])
        self.tasks.append(task)
        times, turn = 1 + (task["side"] == "diffusers"), sum(one["part"] == task["part"] for one in self.tasks)
        found = {
            "about": {"machine": "a machine; torch 9", "bfloat16": True},
            "load": {"open": times * turn, "process": 10 * times, "first": 7 * times},
            "memory": {"before": 1e9, "weights": 4e9, "numbers": 1e9, "opened": (1 + 4 * times) * 1e9, "drawn": 13e9},
            "step": {"step": 3 * times},
            "picture": {"picture": 60 * times, "defaults": f"{task['side']}'s own"},
            "exact": {"values": [0.5, 0.25 * times, 1.0]},
        }
        return "a warning\n" + json.dumps(found[task["part"]])


def cells(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return {what: figures for what, *figures in rows}


def test_all_parts(peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes, page = Processes(), tmp_path / "page.md"
    monkeypatch.setattr(peers, "python", processes)
    page.write_text(f"prose\n{peers.MARK}\nold\n")
    peers.main(["--folder", str(tmp_path / "sd"), "--rounds", "2", "--markdown", str(page)])
    text = page.read_text()
    assert text.startswith(f"prose\n{peers.MARK}\n\na machine; torch 9; pictures of 512×512")
    assert "old" not in text
    found = cells(text)
    # turns 3 and 6 are ours, 4 and 5 theirs; the first pair, 1 and 2, is left out
    assert found["load: libraries imported → checkpoint open, s"] == ["4.5", "9", "2.00"]
    assert found["load: start of Python → checkpoint open, s"] == ["10", "20", "2.00"]
    assert found["memory: peak of opening, × the weights"] == ["1", "2", "2.00"]
    assert found["memory: peak of opening and a picture, × the weights"] == ["3", "3", "1.00"]
    assert found["load: first small picture in bfloat16, s"] == ["7", "14", "2.00"]
    assert found["memory: peak memory over bf16 weights, of a small picture in bfloat16"] == ["6", "6", "1.00"]
    assert found["step: guided, bfloat16, s"] == ["3", "6", "2.00"]
    assert found["picture: the defaults"] == ["Sfumato's own", "diffusers's own", ""]
    assert found["exact: largest difference"] == ["2.5e-01", "", ""]


def test_sides_take_turns(peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()
    monkeypatch.setattr(peers, "python", processes)
    peers.main(["--folder", str(tmp_path / "sd"), "--tiny", "--rounds", "4", "--parts", "picture"])
    done = [(task["side"], task["part"]) for task in processes.tasks]
    ours, theirs = ("Sfumato", "picture"), ("diffusers", "picture")
    assert done == [("Sfumato", "about"), ours, theirs, theirs, ours, ours, theirs]
    assert {task["size"] for task in processes.tasks} == {64}


def test_a_process_that_fails_is_quoted(peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('no such thing')")
    monkeypatch.setattr(peers, "HERE", tmp_path)
    with pytest.raises(SystemExit, match="no such thing"):
        peers.python("broken.py")
