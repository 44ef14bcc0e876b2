"""The rules of the layers: what may import what, what is public, what may never be called."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sfumato

SRC = Path(sfumato.__file__).parent

# Each layer may import from itself and from those before it; the first is the ground.
LAYERS = [
    [
        "arguments",
        "errors",
        "extras",
        "logs",
        "wording",
        "foreign",
        "disk",
        "files",
        "keys",
        "launcher",
        "lazy",
        "notebook",
        "serial",
        "store",
    ],
    ["media"],
    ["nn"],
    ["core"],
    ["denoise", "oracle", "loss", "likelihood", "sample", "guide"],
    ["codec", "condition"],
    ["parts", "machine", "system"],
    ["data", "train", "evaluate", "interop", "library"],
    ["recipes", "models"],
    ["cli"],
]
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path.relative_to(SRC) for path in SRC.rglob("*.py"))

UNPICKLERS = {"pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
PICTURES = ("media/image", "nn/image/encoded_pictures.py", "data/decoder.py", "evaluate", "cli")
"""Where Pillow may be imported."""
TWO_DIMENSIONS = ("nn/image", "media/image", "loss", "evaluate", "nn/blocks.py", "machine.py", "system/links.py")
"""Where operations in two dimensions may stand: networks over pictures, their losses and evaluation, the table of
convolutions by their number of dimensions, and the measurement of how fast convolutions are on a machine."""
OF_TWO = re.compile(
    r"\w*(conv\w*|norm|dropout|pool)2d|interpolate|(un)?fold|pixel_(un)?shuffle|pixel(un)?shuffle|grid_sample|upsample",
    re.IGNORECASE,
)


def tree(module: Path) -> ast.Module:
    """The syntax of a module, without what only a type checker reads."""
    found = ast.parse((SRC / module).read_text(encoding="utf-8"))
    for node in ast.walk(found):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return found


def imported(module: Path) -> set[str]:
    """The full names that a module imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layers_imported(module: Path) -> set[str]:
    """The packages and modules at the top of ours that a module imports from."""
    ours = {name.split(".")[1] for name in imported(module) if name.startswith("sfumato.")}
    return {name for name in ours if name in LAYER or (SRC / name).exists() or (SRC / f"{name}.py").exists()}


def within(module: Path, places: tuple[str, ...]) -> bool:
    return any(module.is_relative_to(place) for place in places)


def defined(module: Path) -> set[str]:
    """The public names that a module defines: functions, classes and constants, not those that it imports."""
    names: set[str] = set()
    for node in tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_never_run_upwards(module: Path) -> None:
    name = module.parts[0].removesuffix(".py")
    if name in ("__init__", "__main__"):
        return
    assert name in LAYER, f"{name} has no layer: give it one in LAYERS"
    above = {other for other in layers_imported(module) if LAYER[other] > LAYER[name]}
    assert not above, f"{module} is below {above} and may not import it"


def test_every_layer_exists() -> None:
    """A name in LAYERS that is neither a module nor a package hides a missing one."""
    assert [name for name in LAYER if not (SRC / f"{name}.py").exists() and not (SRC / name).is_dir()] == []
    assert sorted(LAYER) == sorted(
        {module.parts[0].removesuffix(".py") for module in MODULES if module.parts[1:]}
        | {module.stem for module in MODULES if not module.parts[1:] and not module.stem.startswith("__")}
    )


@pytest.mark.parametrize("package", ["nn", "core"])
def test_networks_and_the_core_import_nothing_of_ours_but_errors(package: str) -> None:
    modules = [module for module in MODULES if module.parts[0] == package]
    assert {name for module in modules for name in layers_imported(module)} <= {package, "errors"}


def test_pillow_stays_with_the_readers_and_writers_of_pictures() -> None:
    users = [module for module in MODULES if any(name.split(".")[0] == "PIL" for name in imported(module))]
    assert [str(module) for module in users if not within(module, PICTURES)] == []


def test_operations_in_two_dimensions_stay_with_pictures() -> None:
    found = [
        f"{module}:{node.lineno}: {ast.unparse(node)}"
        for module in MODULES
        if not within(module, TWO_DIMENSIONS)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Name | ast.Attribute)
        and OF_TWO.fullmatch(node.attr if isinstance(node, ast.Attribute) else node.id)
    ]
    assert found == []


def test_no_public_name_is_defined_in_two_modules() -> None:
    places: dict[str, list[str]] = {}
    for module in MODULES:
        if module.name != "__init__.py":
            for name in defined(module):
                places.setdefault(name, []).append(str(module))
    assert {name: modules for name, modules in sorted(places.items()) if len(modules) > 1} == {}


def test_public_names() -> None:
    assert sfumato.__all__ == ["Cascade", "Samples", "System", "load", "train"]
    assert dir(sfumato) == sfumato.__all__
    for name in sfumato.__all__:
        assert getattr(sfumato, name).__name__.removeprefix("sfumato.") == name
    with pytest.raises(AttributeError, match="no attribute 'sample_all'"):
        _ = sfumato.sample_all


PACKAGES = [module.parent for module in MODULES if module.name == "__init__.py"]


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_package_says_what_of_it_is_public(package: Path) -> None:
    module = importlib.import_module(".".join(["sfumato", *package.parts]))
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if name.startswith("_") or not hasattr(module, name)] == []


def test_the_package_says_that_its_types_are_meant() -> None:
    """PEP 561: without the mark, a type checker of somebody who imports the package reads none of its types."""
    assert (SRC / "py.typed").read_bytes() == b""


def test_importing_the_package_or_its_command_line_imports_no_torch() -> None:
    code = "import sys, sfumato, sfumato.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_unpickles_and_nothing_runs_data(module: Path) -> None:
    for node in ast.walk(tree(module)):
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


ROOT = Path(__file__).parent.parent
WORDS = {
    "t(?:old|ells?)": "conditioned on, given, reported",
    "d(?:oors?)": "conditioning input",
    "s(?:aid)": "config, record, message; given, reported",
    "w(?:alk(?:s|ed|ing)?)": "trajectory",
    "m(?:anners?)": "preset",
    "u(?:nread)": "truncated; not read yet",
    "a(?:pprentice)": "adversarial autoencoder",
}
"""Retired words, as patterns that do not match themselves, and the words of the field in their place."""
OLD_FORMATS = {"src/sfumato/system/format2.py", "tests/system/test_format2.py"}
"""Files that read the keys of an older format."""


def retired(text: str) -> list[str]:
    """The lines with a retired word, alone or as a part of a name, and the word in its place."""
    text = re.sub(r"\.(t(?:ell)|w(?:alk))\(", "(", text)  # methods of the standard library
    found = []
    for line in text.splitlines():
        for word, instead in WORDS.items():
            if re.search(rf"(?<![a-z]){word}(?![a-z])", line, re.IGNORECASE):
                found.append(f"{line.strip()[:100]}: use {instead}")
    return found


def test_retired_words_are_found() -> None:
    old = ["t" + "old", "D" + "OORS", "is_s" + "aid", "a w" + "alk"]
    assert len(retired("\n".join([*old, "walkway, indoors, retold, os.w" + "alk(x), file.t" + "ell()"]))) == len(old)


@pytest.mark.parametrize("folder", ["src", "tests", "docs", "benchmarks", "examples"])
def test_the_words_are_those_of_the_field(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".toml")]
    kept = [path for path in (*files, ROOT / "README.md") if not {"_build", "_generated"} & {*path.parts}]
    assert kept
    lines = {
        name: found
        for path in kept
        if (name := path.relative_to(ROOT).as_posix()) not in OLD_FORMATS
        and (found := retired(path.read_text(encoding="utf-8")))
    }
    assert lines == {}
