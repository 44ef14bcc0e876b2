"""`sfumato doctor` says what the machine has, and how to install what it lacks."""

import importlib.util
import json
import re
import tomllib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from program import Sfumato
from test_checkup import WELL

from sfumato.cli.doctor import EXTRAS
from sfumato.cli.table import show_groups

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_it_says_what_is_here(sfumato: Sfumato) -> None:
    result = sfumato("doctor")
    facts = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert result.code == 0 and not result.err
    assert facts["Sfumato"].strip() == version("sfumato") and facts["torch"].startswith("2.")
    assert {"Python", "device", "precision", "memory", "cores", "disk", "recipes", "scikit-learn"} <= facts.keys()
    assert "digits" in facts["recipes"] and "GB free of" in facts["memory"]
    assert "GFLOP/s" in facts["float32"] and "OMP_NUM_THREADS" in facts["threads"] and "\x1b" not in result.out


def test_it_says_so_as_json(sfumato: Sfumato, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.cli.checkup.look", lambda: replace(WELL, omp="1", threads=1))
    found = json.loads(sfumato("doctor", "--json").out)
    assert found["facts"]["Sfumato"] == version("sfumato") and found["machine"]["affinity"] == 8
    assert [one["do"] for one in found["wrong"]] == ["unset OMP_NUM_THREADS, or --threads 8"]


def test_a_terminal_shows_it_in_groups(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    facts = {"versions": [("torch", "2.9")], "machine": [("device", "[red]cpu[/red] \x1b[31m"), ("disk", "9 GB")]}
    show_groups(facts, [("the disk is full", "make room")])
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert shown[:4] == ["versions", "torch   2.9", "", "machine"]
    assert shown[4:6] == ["device  [red]cpu[/red] \\x1b[31m", "disk    9 GB"]
    assert shown[7:] == ["wrong", "! the disk is full", "  make room"]
    show_groups(facts, [])
    assert capsys.readouterr().out.rstrip().endswith("Nothing is wrong.")


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra.package)
def test_it_says_how_to_install_what_is_missing(extra: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.cli import doctor

    name, module, package, use = extra
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked, *a: None if asked == module else find(asked, *a))
    monkeypatch.setattr(doctor, "_facts", lambda machine: {})
    monkeypatch.setattr("sfumato.cli.checkup.look", lambda: WELL)
    with pytest.MonkeyPatch.context() as patch:
        lines: list[tuple[str, str]] = []
        patch.setattr("sfumato.cli.table.show", lines.extend)
        doctor.doctor(as_json=False)
    assert dict(lines)[package] == f"missing: {use} needs it; pip install sfumato[{name}]"


def test_every_extra_of_the_project_is_named() -> None:
    declared = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {
        (extra, re.split(r"[<>=!~\[; ]", package, maxsplit=1)[0])
        for extra, packages in declared.items()
        if extra != "dev"
        for package in packages
    }
    assert {(extra.name, extra.package) for extra in EXTRAS} == wanted


def test_developers_have_the_extras_that_the_tests_need() -> None:
    declared = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert "sfumato[audio,digits,parquet]" in declared["dev"]
