"""The pages: what they say of the code is there, before a build of minutes finds that it is not."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import PIL.Image
import pytest
import typer

import sfumato
from sfumato.cli import app
from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import EpsPrediction
from sfumato.core.schedule import Linear
from sfumato.denoise import Denoiser
from sfumato.interop.diffusers.schedulers.table import CLASS_OF_SAMPLER
from sfumato.media import Image
from sfumato.nn import UNet
from sfumato.parts import SAMPLERS
from sfumato.system import Settings, System

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def equations() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        patch.delitem(sys.modules, "papers", raising=False)
        yield loaded("equations")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return loaded("reference")


def loaded(name: str) -> ModuleType:
    """A module of the documentation's build."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_option_of_every_command_is_on_its_page(tmp_path: Path) -> None:
    loaded("commands").write(tmp_path)
    text = (tmp_path / "command-line.md").read_text(encoding="utf-8")
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        part = text.partition(f"## sfumato {name}\n")[2].partition("\n## ")[0]
        shown = {*re.findall(r"--?[a-z][a-z-]*", part + text.partition("## sfumato")[0])}
        assert {one.opts[0] for one in command.params if one.opts[0].startswith("-")} - shown == set()
    assert "`--out DIR\\|FILE`" in text and "`--set` train.batch=64" in text
    assert "`--resume` takes the run's own" in text


FAMOUS = [
    ("2006.11239", "eq. 4", "marginal"),  # DDPM: the noised sample in closed form
    ("2006.11239", "eq. 7", "posterior"),
    ("2006.11239", "eq. 12", "step_term"),
    ("2006.11239", "eq. 14", "Denoising"),
    ("2006.11239", "section 4", "Linear"),  # betas from 1e-4 to 0.02
    ("2006.11239", "algorithm 2", "Ancestral"),
    ("2010.02502", "eq. 12", "DDIM"),
    ("2010.02502", "eq. 16", "DDIM"),
    ("2102.09672", "eq. 15", "Estimate"),  # improved DDPM: the learned variance
    ("2102.09672", "eq. 17", "Cosine"),
    ("2011.13456", "eq. 39", "bits_by_ode"),  # score SDE: the likelihood of the probability-flow ODE
    ("2107.03006", "eq. 3", "Uniform"),  # D3PM
    ("2406.07524", "eq. 6", "Masking"),  # MDLM
    ("2406.07524", "eq. 10", "TokenVLB"),
    ("2310.16834", "eq. 10", "Uniform"),  # SEDD
    ("2206.00364", "eq. 5", "KarrasSpacing"),  # EDM
    ("2206.00364", "algorithm 1", "Heun"),
    ("2206.00364", "algorithm 2", "Heun"),
    ("2206.00364", "table 1", "EDMPreconditioning"),
    ("2206.00364", "eq. 7", ""),  # c_skip, c_out, c_in, c_noise
    ("2202.00512", "appendix D", "VPrediction"),  # progressive distillation
    ("2205.11487", "section 2.3", "DynamicThreshold"),  # Imagen
    ("2207.12598", "eq. 6", "ClassifierFree"),
    ("2303.09556", "eq. 9", "MinSNRWeight"),
    ("2211.01095", "algorithm 2", "DPMSolver"),
    ("2209.03003", "eq. 1", "Flow"),  # rectified flow
]


def test_the_index_has_the_equations_that_everybody_looks_for(equations: ModuleType) -> None:
    found = {(one.paper, one.place, one.name.split(".")[0]) for one in equations.equations()}
    assert set(FAMOUS) - found == set()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("DDPM eq. 4", "gaussian.marginal"),
        ("ddpm algorithm 2", "Ancestral"),
        ("linear schedule", "Linear"),
        ("cosine schedule", "Cosine"),
        ("EDM table 1", "EDMPreconditioning"),
        ("c_skip", "parameterization"),
        ("karras sigmas", "KarrasSpacing"),
        ("classifier-free", "ClassifierFree"),
        ("v-prediction", "VPrediction"),
        ("min-snr", "MinSNRWeight"),
        ("DPM-Solver++ 2M", "DPMSolver"),
        ("bits per dimension", "bits_by_vlb"),
        ("dynamic thresholding", "DynamicThreshold"),
        ("static thresholding", "StaticThreshold"),
    ],
)
def test_the_index_is_found_by_the_words_of_the_field(equations: ModuleType, words: str, name: str) -> None:
    assert any(name in row for row in equations.lines(words.split()))


def test_the_index_finds_a_place_whole_and_in_its_own_paper(equations: ModuleType) -> None:
    rows = [row.partition(":")[0] for row in equations.lines(["DDPM", "eq.", "1"])]
    assert rows == [] and {*equations.lines(["DDIM", "eq.", "12"])} < {*equations.lines(["eq.", "12"])}


def test_the_glossary_has_the_samplers_as_they_are_spelled_and_as_diffusers_calls_them() -> None:
    text = (DOCS / "learn" / "glossary.md").read_text(encoding="utf-8").partition("## Samplers")[2].partition("##")[0]
    rows = {re.findall("`([^`]+)`", row)[0]: row for row in text.splitlines() if row.startswith("| `")}
    assert len([SAMPLERS.parse(spelled) for spelled in rows]) >= 15
    assert {kind: name for kind, name in CLASS_OF_SAMPLER.items() if name not in rows.get(kind, "")} == {}


def test_every_row_of_the_index_links_to_the_reference(equations: ModuleType, tmp_path: Path) -> None:
    equations.write(tmp_path)
    rows = (tmp_path / "equations.md").read_text(encoding="utf-8").splitlines()
    assert sum(row.startswith("| ") and "{py:" in row for row in rows) >= 80


def test_an_equation_of_no_known_paper_is_refused(equations: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sfumato.x: f names 'eq. 3' of no paper"):
        list(equations.of_docstring("sfumato.x", "f", "As in eq. 3.", ""))
    with pytest.raises(ValueError, match=r"'eq. 3' of 9901.00001, which docs/papers.py lacks"):
        list(equations.of_docstring("sfumato.x", "f", "As arXiv:9901.00001, eq. 3.", ""))


def test_the_equation_of_the_nearest_paper_before_it_is_meant(equations: ModuleType) -> None:
    doc = "`x = y + z + 1` (DDPM, eq. 2 and 4). `c = d·(e + f)`, EDM, arXiv:2206.00364, algorithms 1 and 2."
    found = [one[:2] + one[4:5] for one in equations.of_docstring("sfumato.x", "f", doc, "")]
    assert found == [
        ("2006.11239", "eq. 2", "x = y + z + 1"),
        ("2006.11239", "eq. 4", "x = y + z + 1"),
        ("2206.00364", "algorithm 1", "x = y + z + 1"),
        ("2206.00364", "algorithm 2", "x = y + z + 1"),
    ]


def test_every_public_name_is_in_the_reference(reference: ModuleType) -> None:
    """Public is what a package names in `__all__`; the reference has it under the module that defines it."""
    there = {name.rpartition(".")[2] for name in reference.documented()}
    packages = [path.parent.relative_to(reference.SRC) for path in reference.SRC.rglob("__init__.py")]
    modules = [".".join(["sfumato", *package.parts]) for package in packages]
    public = {name: module for module in modules for name in reference.exported(module) if module != "sfumato.cli"}
    assert {name: module for name, module in public.items() if name not in there} == {}


def test_the_first_sentence_does_not_end_at_an_abbreviation(reference: ModuleType) -> None:
    assert reference.sentence("It is so (DDIM, eq. 12\n    and 16). More. And") == "It is so (DDIM, eq. 12 and 16)."
    assert reference.sentence("One.\n\nMore. And") == "One." and reference.sentence("Two. More") == "Two."


def test_the_reference_lists_each_module_once_and_in_a_group_that_it_leads_to(reference: ModuleType) -> None:
    listed = [name for names in reference.groups().values() for name in names]
    assert len(listed) == len({*listed}) > 100 and len(reference.documented()) > 300
    toctree = (DOCS / "reference.md").read_text(encoding="utf-8").rpartition("```{toctree}")[2]
    assert {*re.findall(r"^reference/(\w+)$", toctree, re.MULTILINE)} == {*reference.groups()}


def test_the_page_of_a_module_begins_with_its_names_and_how_they_are_imported(reference: ModuleType) -> None:
    lines = reference.contents("sfumato.sample.ddim")
    assert "   from sfumato.sample import DDIM" in lines and "   * - :py:obj:`~sfumato.sample.ddim.DDIM`" in lines
    names = [
        name
        for module in reference.documented()
        if reference.is_module(module)
        for name in reference.imports(module, [*reference.table(module)])
    ]
    assert max(map(len, names)) <= 100 and all(line.startswith("from sfumato") for line in names)


PAGES = sorted(
    {
        page
        for page in (*DOCS.rglob("*.md"), *DOCS.rglob("*.py"), DOCS.parent / "README.md")
        if not {"_build", "_generated"} & {*page.parts}
    }
)
PRIVATE = r"\bmove[sd]?\b"
"""A word of our own for a sampling step; tests/test_house.py holds the pages to the others."""


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_pages_speak_in_the_words_of_the_field(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.search(PRIVATE, line, re.IGNORECASE)] == []


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_modules_that_a_page_names_are_there(page: Path) -> None:
    folders = [DOCS.parent / name for name in ("src", "tests", "docs", "examples", "benchmarks")]
    there = {path.as_posix() for folder in folders for path in folder.rglob("*.py")}
    named = re.findall(r"`([\w./-]+\.py)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


@pytest.mark.parametrize(
    "page", [DOCS.parent / "README.md", DOCS / "how-to" / "your-own-pictures.md"], ids=["readme", "pictures"]
)
def test_the_python_of_a_page_runs_as_it_stands(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a system of random weights in the place of the reader's own."""
    network = UNet(width=8, multipliers=(1,), attention=(), vector=4, in_channels=1, out_channels=1)
    labels = Labels(("cat", "dog", "cats", "dogs"))
    settings = Settings((8, 8), steps=2)
    system = System(Identity(Image(1)), labels, Denoiser(network, Linear(), EpsPrediction()), settings)
    monkeypatch.setattr(sfumato, "load", lambda where: system)
    monkeypatch.setattr(PIL.Image.Image, "show", lambda image: None)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    exec(compile(code, str(page), "exec"), {})
    assert len(list((tmp_path / "drawn").iterdir())) in (8, 16)
