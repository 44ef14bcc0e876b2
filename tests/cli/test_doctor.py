"""`sfumato doctor` says what the machine has, and how to install what it lacks."""

import importlib.util
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from program import Sfumato

from sfumato.cli.doctor import EXTRAS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_it_says_what_is_here(sfumato: Sfumato) -> None:
    result = sfumato("doctor")
    facts = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert result.code == 0 and not result.err
    assert facts["Sfumato"].strip() == version("sfumato") and facts["torch"].startswith("2.")
    assert {"Python", "device", "precision", "memory", "cores", "disk", "recipes", "scikit-learn"} <= facts.keys()
    assert "digits" in facts["recipes"] and "GB free of" in facts["memory"]


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra.package)
def test_it_says_how_to_install_what_is_missing(extra: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.cli import doctor

    name, module, package, use = extra
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked, *a: None if asked == module else find(asked, *a))
    monkeypatch.setattr(doctor, "_facts", list)
    with pytest.MonkeyPatch.context() as patch:
        lines: list[tuple[str, str]] = []
        patch.setattr("sfumato.cli.table.show", lines.extend)
        doctor.doctor()
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
