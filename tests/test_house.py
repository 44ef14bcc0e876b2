"""The house rules: what may import what, what is public, what may never be called."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import sfumato

SRC = Path(sfumato.__file__).parent

# Each floor may import from itself and from those before it; the first is the ground.
FLOORS = [
    ["arguments", "errors", "wording", "disk", "files", "keys", "lazy", "serial", "store"],
    ["media"],
    ["nn"],
    ["core"],
    ["denoise", "oracle", "loss", "likelihood", "sample", "guide"],
    ["codec", "condition"],
    ["parts", "machine", "samples", "settings", "system", "system_file", "classifier", "cascade", "weighted"],
    ["data", "train", "evaluate", "edit", "tune", "interop", "library"],
    ["recipes", "models"],
    ["cli", "serve"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
UNPICKLERS = {"pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
MODULES = sorted(path.relative_to(SRC) for path in SRC.rglob("*.py"))


def rooms_imported(path: Path) -> set[str]:
    """The rooms of the house that a module imports from, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.split(".")[1] for name in names if name.startswith("sfumato.")}
    return {room for room in ours if room in FLOOR or (SRC / room).exists() or (SRC / f"{room}.py").exists()}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_never_run_upwards(module: Path) -> None:
    room = module.parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    assert room in FLOOR, f"{room} has no floor: give it one in FLOORS"
    above = {other for other in rooms_imported(SRC / module) if FLOOR[other] > FLOOR[room]}
    assert not above, f"{module} is below {above} and may not import it"


def test_networks_import_nothing_of_the_house_but_errors() -> None:
    assert {room for path in (SRC / "nn").glob("*.py") for room in rooms_imported(path)} <= {"nn", "errors"}


def test_the_core_imports_nothing_of_the_house_but_errors() -> None:
    assert {room for path in (SRC / "core").glob("*.py") for room in rooms_imported(path)} <= {"core", "errors"}


def test_public_names() -> None:
    assert sfumato.__all__ == ["Samples", "System", "load"]
    assert dir(sfumato) == sfumato.__all__
    for name in sfumato.__all__:
        assert getattr(sfumato, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'sample_all'"):
        _ = sfumato.sample_all


def test_importing_the_package_or_its_command_line_imports_no_torch() -> None:
    code = "import sys, sfumato, sfumato.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_unpickles_and_nothing_runs_data(module: Path) -> None:
    for node in ast.walk(ast.parse((SRC / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert not UNPICKLERS & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load", "torch.save", "__import__"), f"{module}: {called}"
            for keyword in node.keywords:
                unsafe = keyword.arg == "allow_pickle" and not ast.unparse(keyword.value) == "False"
                assert not unsafe, f"{module}: allow_pickle"


def test_every_setting_has_its_words_in_the_documentation(tmp_path: Path) -> None:
    """What has none breaks the build of the pages, which takes minutes; this is its first second."""
    spec = importlib.util.spec_from_file_location("tables", SRC.parents[1] / "docs" / "tables.py")
    assert spec and spec.loader
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    tables.write_all(tmp_path)
    assert "frequency_shift" in (tmp_path / "dit.md").read_text(encoding="utf-8")
