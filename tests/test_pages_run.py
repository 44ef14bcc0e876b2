"""Before a release: the commands of a page are run, in its order, in a folder with small data."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import pages

SHORTER = (
    (r"\s{2,}#.*", ""),  # what is added below would be a part of the comment
    (r"--minutes [\d.]+", "--minutes 0.02"),
    (r"minutes=[\d.]+", "minutes=0.02"),
    (r"size=\(\d{3}, \d{3}\)", "size=(64, 64)"),
    (r"--epochs [\d.]+", "--epochs 1"),
    (r"--steps \d{2,}", "--steps 4"),
    (
        r"--model FILE.safetensors",
        "--model FILE.safetensors --config path/to/stable-diffusion",
    ),  # it is of no known size
)
"""What is asked for less of than a page does."""
SMALLER = {
    "text-to-image": ("data.size=[32,32]", "condition.layout=0", "network.width=32", "train.batch=4"),
    "autoencoder": ("train.batch=4",),
    "sound": ("network.depth=1", "train.batch=2"),
    "": ("network.width=32", "network.blocks=1", "train.batch=4", "settings.steps=4"),
}
"""Settings laid over a recipe, by its name."""
TIME_LIMIT = 900


def shortened(line: str) -> str:
    for pattern, less in SHORTER:
        line = re.sub(pattern, less, line)
    if not line.startswith("sfumato train") or "--resume" in line:
        return line
    if not re.search(r"--(minutes|epochs|steps|images) ", line):  # as long as its recipe is
        line += " --minutes 0.02"
    recipe = re.search(r"--recipe (\S+)", line)
    settings = SMALLER.get(recipe[1] if recipe else "", SMALLER[""])
    return " ".join([line, *(f"--set {one.partition('=')[0]}={one.partition('=')[2]!r}" for one in settings)])


def steps(page: Path) -> list[list[str]]:
    """The programs that a page has a reader run, as words for the system."""
    shell: list[list[str]] = []
    for block in pages.blocks(page):
        if block.why is not None:
            continue
        if block.kind in ("sh", "console"):
            shell += [["bash", "-c", shortened(line)] for line in block.lines()]
        elif block.kind == "python":
            shell.append([sys.executable, "-c", shortened(block.text)])
    return shell


RUN = [page for page in pages.PAGES if steps(page)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages read, in which `sfumato` is a program."""
    pages_data = pytest.importorskip("pages_data")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "sfumato"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sfumato "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "here").mkdir()
    pages_data.prepare(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.release
@pytest.mark.parametrize("page", RUN, ids=[pages.NAMES[page] for page in RUN])
def test_the_commands_of_a_page_do_what_it_says_one_after_another(page: Path, folder: Path) -> None:
    for words in steps(page):
        ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=TIME_LIMIT)
        assert ended.returncode == 0, f"{words[-1]}\nended with {ended.returncode}:\n{ended.stderr[-2000:]}"


def test_a_command_is_shortened_by_the_rules_and_else_left_as_it_is() -> None:
    assert (
        shortened("sfumato generate cat -n 16 --steps 250 --seed 7") == "sfumato generate cat -n 16 --steps 4 --seed 7"
    )
    line = shortened("sfumato train PICTURES --minutes 60 --recipe sound")
    assert line.startswith("sfumato train PICTURES --minutes 0.02 --recipe sound --set network.depth='1'")
    assert shortened("sfumato train a  # learn").endswith("--set settings.steps='4'")
    assert shortened("sfumato train a --recipe ddpm").startswith("sfumato train a --recipe ddpm --minutes 0.02 --set")
    assert shortened("sfumato.train(photos, minutes=300)") == "sfumato.train(photos, minutes=0.02)"
    assert shortened("sfumato train --resume --out runs/mine --minutes 60").endswith("--minutes 0.02")
