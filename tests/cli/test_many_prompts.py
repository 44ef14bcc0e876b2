"""Prompts in numbers: what a file asks for, what is there already, and what each of several processes draws."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from program import Result, Sfumato

from sfumato.cli.prompts import MOST_FILE, Line, read_prompts, read_seeds
from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.media import Image
from sfumato.nn.image.unet import UNet
from sfumato.system import System, draw
from sfumato.system.settings import Settings

PLACE = ("--device", "cpu", "--precision", "float32")
LINES = """\
{"prompt": "cat", "seeds": [0, 1, 2]}
{"prompt": "dog", "seed": 5, "steps": 3}

{"prompt": "dog", "seeds": "0-2"}
{"prompt": "cat", "seed": 0}
{"prompt": null, "seed": 7}
{"prompt": "cat", "seed": 1, "size": "6x4"}
{"prompt": "cat", "seed": 2, "size": [6, 4], "sampler": "ddpm"}
"""
"""Eleven samples in four drawings; one of them is asked for twice."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system of two classes that was never trained, whose batches are of two."""
    torch.manual_seed(0)
    conditioner = Labels(("cat", "dog"))
    widths: dict[str, Any] = conditioner.widths
    network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), **widths)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    denoiser = Denoiser(network, Cosine(), X0Prediction())
    return System(Identity(Image(1)), conditioner, denoiser, Settings((4, 4), steps=2)).save(
        tmp_path_factory.mktemp("systems") / "small"
    )


@pytest.fixture(autouse=True)
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(System, "batch", lambda self, size=None: 2)


def generate(sfumato: Sfumato, model: Path, *words: object) -> Result:
    result = sfumato("generate", "-m", model, *PLACE, *words)
    assert result.code == 0, result.err
    return result


def asked(text: str, name: str = "prompts.jsonl") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def files(folder: str | Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


# Files of prompts -----------------------------------------------------------------------------------------------------


def test_a_text_is_a_prompt_a_line(sfumato: Sfumato, model: Path) -> None:
    Path("p.txt").write_bytes(b"\xef\xbb\xbfcat\r\n\r\n  dog \r\n")
    result = generate(sfumato, model, "--prompts", "p.txt", "-n", 2, "--seed", 3)
    assert result.out.split() == [f"out/{name}.png" for name in ("cat-3", "cat-4", "dog-3", "dog-4")]


def test_prompts_come_from_standard_input(sfumato: Sfumato, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"dog\ncat")))
    assert generate(sfumato, model, "--prompts", "-", "--seeds", "1,4-5").out.split() == [
        f"out/{name}.png" for name in ("dog-1", "dog-4", "dog-5", "cat-1", "cat-4", "cat-5")
    ]


def test_a_line_of_json_says_what_is_different(sfumato: Sfumato, model: Path) -> None:
    out = generate(sfumato, model, "--prompts", asked(LINES), "--json").out
    entries = sorted(map(json.loads, out.splitlines()), key=lambda entry: entry["index"])
    assert [(entry["prompt"], entry["seed"], entry["size"]) for entry in entries] == [
        *[("cat", seed, [4, 4]) for seed in range(3)],
        ("dog", 5, [4, 4]),
        *[("dog", seed, [4, 4]) for seed in range(3)],
        ("cat", 0, [4, 4]),
        (None, 7, [4, 4]),
        *[("cat", seed, [6, 4]) for seed in (1, 2)],
    ]
    assert [entry["index"] for entry in entries] == [*range(11)] and all(entry["seconds"] > 0 for entry in entries)
    assert {entry["path"] for entry in entries} == {f"out/{name}" for name in files("out")}, "each has its own file"
    assert files("out")["cat-0.png"] and files("out")["cat-0_2.png"]


def test_a_sample_is_as_it_is_drawn_alone(sfumato: Sfumato, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(System, "batch", lambda self, size=None: 1)
    generate(sfumato, model, "--prompts", asked(LINES))
    generate(sfumato, model, "dog", "--seed", 5, "--steps", 3, "--out", "alone")
    assert files("alone")["dog-5.png"] == files("out")["dog-5.png"]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "p.txt", "p.txt holds no prompt: write one a line"),
        ("cat\ncow\ndog", "p.txt", "p.txt, line 2: there is no class 'cow' here"),
        ('{"prompt": "cat"}\ndog', "p.txt", "p.txt, line 2: wanted a JSON object as on other lines"),
        ("cat", "p.jsonl", "p.jsonl, line 1: wanted a JSON object"),
        ('{"prompt": "cat"}\n{"prompt": ["dog"]}', "p.txt", "p.txt, line 2: a prompt is a text, or the number of a"),
        ('{"prompt": "cat", "step": 3}', "p.txt", "line 1: a line has no 'step'; did you mean 'steps'"),
        ('{"prompt": "cat", "batch": 3}', "p.txt", "line 1: a line has no 'batch'"),
        ('\n{"steps": 0}', "p.txt", "p.txt, line 2: steps must be between 1"),
        ('{"size": "six"}', "p.txt", "p.txt, line 1: a size reads WIDTHxHEIGHT"),
        ('{"seed": 1, "seeds": [2]}', "p.txt", "p.txt, line 1: a line has a seed or seeds, not both"),
        ('{"seed": "1"}', "p.txt", "p.txt, line 1: a seed must be a whole number, not '1'"),
        ('{"seeds": [0, -1]}', "p.txt", "p.txt, line 1: a seed must be a whole number from 0"),
        ('{"seeds": "9-1"}', "p.txt", "p.txt, line 1: seeds read 0,1,2 or 0-9, not '9-1'"),
        ('{"name": "{prompt.real}"}', "p.txt", "p.txt, line 1: a name has no field 'prompt.real'"),
        ('{"name": 3}', "p.txt", "p.txt, line 1: a name is a text, not 3"),
        ('{"seed": NaN}', "p.txt", "p.txt, line 1: wanted a JSON object"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_drawn(
    text: str, name: str, message: str, sfumato: Sfumato, model: Path
) -> None:
    result = sfumato("generate", "-m", model, *PLACE, "--prompts", asked(text, name))
    assert result.code and message in result.err and result.err.count("\n") == 1 and not Path("out").exists()


def test_what_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "p.txt").write_bytes("cat\ncafé\n".encode("latin-1"))
    with pytest.raises(InputError, match="p.txt, line 2: not UTF-8"):
        read_prompts(str(file))
    monkeypatch.setattr("sfumato.cli.prompts.MOST_FILE", 7)
    assert MOST_FILE > 10**7
    with pytest.raises(InputError, match="p.txt is larger than"):
        read_prompts(str(file))


def test_a_prompt_may_begin_as_a_comment_or_a_brace(tmp_path: Path) -> None:
    (file := tmp_path / "p.txt").write_text("# 1 in the charts\n{a|b} cat\n")
    assert [line.prompt for line in read_prompts(str(file))] == ["# 1 in the charts", "{a|b} cat"]
    assert read_prompts(str(file))[0] == Line("# 1 in the charts", where=f"{file}, line 1")


@pytest.mark.parametrize("text", ["", "1,", "a", "1-", "-1", "3-1", "0-99999999", "٣", "1e3", "1 2"])
def test_what_spells_no_seeds_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="seeds"):
        read_seeds(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("cat", "--prompts", "p.txt"), "--prompts takes the place of a prompt"),
        (("cat", "--seeds", "1", "-n", 2), "--seeds says all seeds: leave -n and --seed out"),
        (("cat", "-n", 2, "--name", "{prompt}"), "two samples would be 'cat', number 0 and number 1: put {index} in"),
        (("cat", "--name", "../{seed}"), "begin with no dot"),
        (("cat", "--name", "{index"), "is no template as {index:05}-{seed}"),
        (("cat", "--name", "p.txt/{seed}", "--out", "."), "p.txt is a file, not a folder"),
        (("--prompts", "."), ". is a folder: --prompts wants a file"),
        (("--prompts", "q.txt", "-n", 60_000), "more than 100,000 samples were asked for"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: Any, message: str, sfumato: Sfumato, model: Path) -> None:
    asked("cat\n", "p.txt")
    asked("cat\ndog", "q.txt")
    result = sfumato("generate", "-m", model, *PLACE, *words)
    assert result.code and message in result.err and not Path("out").exists()


# What is there already ------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Counts the sampling steps, and dies where there are to be no more."""
    count, drawn = {"made": 0, "most": 10**9}, draw.Plan._batch

    def counted(*arguments: Any) -> Iterator[draw.Frame]:
        for frame in drawn(*arguments):
            count["made"] += 1
            if count["made"] > count["most"]:
                raise Killed
            yield frame

    monkeypatch.setattr(draw.Plan, "_batch", counted)
    yield count


@pytest.mark.parametrize("most", [1, 5, 12])
def test_what_was_killed_goes_on_to_the_same_bytes(
    most: int, sfumato: Sfumato, model: Path, steps: dict[str, int]
) -> None:
    lines = asked(LINES)
    generate(sfumato, model, "--prompts", lines, "--out", "whole")
    whole, steps["made"], steps["most"] = steps["made"], 0, most
    with pytest.raises(Killed):
        generate(sfumato, model, "--prompts", lines, "--skip-existing")
    there = len(files("out")) if Path("out").exists() else 0
    steps["made"], steps["most"] = 0, 10**9
    printed = generate(sfumato, model, "--prompts", lines, "--skip-existing", "--json").out.splitlines()
    entries = [json.loads(line) for line in printed if line.startswith("{")]  # the killed one had printed paths
    assert files("out") == files("whole")
    assert sum(entry.get("skipped", False) for entry in entries) == there and len(entries) == 11
    assert steps["made"] + most // 2 * 2 <= whole + 1, "no batch that is whole is drawn again"
    steps["made"] = 0
    generate(sfumato, model, "--prompts", lines, "--skip-existing")
    assert steps["made"] == 0


def test_a_batch_of_which_one_is_missing_is_drawn_again_and_only_that_one_is_written(
    sfumato: Sfumato, model: Path, steps: dict[str, int]
) -> None:
    words = ("cat", "-n", 5)
    generate(sfumato, model, *words)
    before, steps["made"] = files("out"), 0
    times = {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir() if path.name != "cat-2.png"}
    Path("out/cat-2.png").unlink()
    result = generate(sfumato, model, *words, "--skip-existing")
    assert files("out") == before and steps["made"] == 2 and "4 of 5 were there" in result.err
    assert times.items() <= {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}.items()


def test_a_file_of_another_record_stays_and_is_reported(sfumato: Sfumato, model: Path, steps: dict[str, int]) -> None:
    generate(sfumato, model, "cat", "--steps", 3)
    other = files("out")["cat-0.png"]
    result = generate(sfumato, model, "cat", "--skip-existing")
    assert result.out == "out/cat-0_2.png\n" and "of other records were there and stay" in result.err
    assert files("out")["cat-0.png"] == other
    steps["made"] = 0
    again = generate(sfumato, model, "cat", "--skip-existing")
    assert again.out == "out/cat-0_2.png\n" and steps["made"] == 0 and "other records" not in again.err


def test_a_file_that_cannot_be_read_is_anothers(sfumato: Sfumato, model: Path) -> None:
    Path("out").mkdir()
    Path("out/cat-0.png").write_bytes(b"torn")
    assert generate(sfumato, model, "cat", "--skip-existing").out == "out/cat-0_2.png\n"
    assert Path("out/cat-0.png").read_bytes() == b"torn"


# Names ----------------------------------------------------------------------------------------------------------------


def test_files_are_named_by_a_template(sfumato: Sfumato, model: Path) -> None:
    asked("cat\ndog\n", "p.txt")
    words = ("--prompts", "p.txt", "--seeds", "3,8", "--name", "{prompt}/{index:03}-{seed}")
    generate(sfumato, model, *words)
    assert sorted(files("out")) == ["cat/000-3.png", "cat/001-8.png", "dog/002-3.png", "dog/003-8.png"]
    Path("out/dog/002-3.png").unlink()
    assert "3 of 4 were there" in generate(sfumato, model, *words, "--skip-existing").err
    assert len(files("out")) == 4


# Several processes ----------------------------------------------------------------------------------------------------


def test_several_processes_draw_what_one_does(
    sfumato: Sfumato, model: Path, monkeypatch: pytest.MonkeyPatch, steps: dict[str, int]
) -> None:
    lines = asked(LINES)
    generate(sfumato, model, "--prompts", lines, "--out", "one")
    whole, steps["made"] = steps["made"], 0
    monkeypatch.setenv("WORLD_SIZE", "3")
    drawn = []
    for rank in (2, 0, 1):
        monkeypatch.setenv("RANK", str(rank))
        result = generate(sfumato, model, "--prompts", lines, "--json")
        drawn += [json.loads(line)["index"] for line in result.out.splitlines()]
        assert ("on cpu in float32" in result.err) == (rank == 0), "the first alone speaks"
    assert files("out") == files("one") and sorted(drawn) == [*range(11)] and steps["made"] == whole


@pytest.mark.release
def test_a_launcher_starts_processes_that_draw_what_one_does(sfumato: Sfumato, model: Path, tmp_path: Path) -> None:
    lines = asked(LINES)
    words = ["generate", "-m", str(model), *PLACE, "--prompts", lines]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "sfumato"]
    for command, out in (([sys.executable, "-m", "sfumato"], "one"), (launch, "two")):
        done = subprocess.run(
            [*command, *words, "--out", out], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
    assert files("two") == files("one") and len(files("two")) == 11
