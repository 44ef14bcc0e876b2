"""The index of equations, made from the docstrings: which function is which equation of which paper."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from papers import PAPERS

HERE = Path(__file__).parent
SRC = HERE.parent / "src" / "sfumato"
NUMBER = r"(?:[IVX]+\.)?[A-Z]?\d+(?:\.\d+)*"
PLACE = re.compile(
    rf"\b(eqs?\.|[Aa]lgorithms?|[Tt]ables?|[Tt]echniques?) ({NUMBER}(?:(?:, | and | to |, and ){NUMBER})*)"
)
SHORT = {short: paper for paper, (short, _) in PAPERS.items() if short}
PAPER = re.compile(
    r"\d{4}\.\d{5}|(?<![\w-])(?:"
    + "|".join(re.escape(name) for name in sorted([*PAPERS, *SHORT], key=len)[::-1])
    + r")(?![\w+])"
)


class Equation(NamedTuple):
    """One mention of an equation, an algorithm or a table in a docstring."""

    paper: str
    """A key of `PAPERS`."""
    place: str
    """As in "eq. 4"."""
    module: str
    name: str
    """The object's name within the module, as in `Estimate.reverse`; "" for the module itself."""
    formula: str
    """The first formula of the docstring, if its first sentence has one."""


def equations() -> list[Equation]:
    """All of them, by paper, place and module. Raises a `ValueError` for an equation of no known paper."""
    found = {one[:4]: one for path in sorted(SRC.rglob("*.py")) for one in of_module(path)}
    return sorted(
        found.values(), key=lambda one: (one.paper, kind(one.place), numbers(one.place), one.module, one.name)
    )


def of_module(path: Path) -> Iterator[Equation]:
    """The equations in the docstrings of one module. One that names no paper is of the class's or the module's."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = ["sfumato", *path.relative_to(SRC).with_suffix("").parts]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    yield from of_docstring(module, "", ast.get_docstring(tree), "")
    around = ast.get_docstring(tree) or ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            doc = ast.get_docstring(node)
            yield from of_docstring(module, node.name, doc, around)
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    outer = f"{around} {doc or ''}"
                    yield from of_docstring(module, f"{node.name}.{method.name}", ast.get_docstring(method), outer)


def of_docstring(module: str, name: str, doc: str | None, around: str) -> Iterator[Equation]:
    text = " ".join((doc or "").split())
    codes = re.findall(r"`([^`]+)`", text.partition(". ")[0])
    formula = next((code for code in codes if len(code) > 5 and set(code) & set("=~≤←·∑∇|")), "")
    for found in PLACE.finditer(text):
        named = [*PAPER.finditer(text, 0, found.start())][-1:] or [*PAPER.finditer(around)][:1]
        if not named:
            raise ValueError(f"{module}: {name or 'the docstring'} names {found[0]!r} of no paper in docs/papers.py")
        paper = SHORT.get(named[0][0], named[0][0])
        if paper not in PAPERS:
            raise ValueError(
                f"{module}: {name} names {found[0]!r} of {paper}, which docs/papers.py lacks: add its title"
            )
        word = {"eqs.": "eq."}.get(found[1].lower(), found[1].lower().removesuffix("s"))
        for number in re.split(r", and |, | and ", found[2]):
            yield Equation(paper, f"{word} {number}", module, name, formula)


def kind(place: str) -> int:
    return ("eq.", "algorithm", "table", "technique").index(place.split(" ")[0])


def numbers(place: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", place)]


def documented() -> set[str]:
    """The full names of all that the reference has."""
    pages: set[str] = set()
    for directive, target in re.findall(
        r"auto(module|class|function):: (\S+)", (HERE / "reference.md").read_text("utf-8")
    ):
        pages |= {target, *(f"{target}.{name}" for name in (exported(target) if directive == "module" else ()))}
    return pages


def exported(module: str) -> list[str]:
    """The public names of a module: its `__all__`, or what it defines."""
    path = SRC.parent.joinpath(*module.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(node).startswith("__all__"):
            return ast.literal_eval(node.value or ast.List())
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.append(node.targets[0].id)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
    return [name for name in names if not name.startswith("_")]


def link(one: Equation, pages: set[str]) -> str:
    """A link to the object in the reference. Raises a `KeyError` where it is not there."""
    package = one.module.rpartition(".")[0]
    if not one.name:
        if one.module not in pages:
            raise KeyError(f"docs/reference.md lacks {one.module}, which has {one.place} of {one.paper}")
        return f"{{py:mod}}`{one.module}`"
    owner, dot, member = one.name.partition(".")
    for module in (one.module, package):
        if f"{module}.{owner}" in pages:
            return f"{{py:obj}}`{one.name} <{module}.{owner}{dot}{member}>`"
    raise KeyError(f"docs/reference.md lacks {one.module}.{owner}, which has {one.place} of {one.paper}")


def write(folder: Path) -> None:
    """Write the index into `folder`, as equations.md: a table for each paper, the oldest first."""
    pages, found = documented(), equations()
    lines: list[str] = []
    for paper in dict.fromkeys(one.paper for one in found):
        short, title = PAPERS[paper]
        where = f" ([arXiv:{paper}](https://arxiv.org/abs/{paper}))" if paper[:4].isdigit() else f" ({paper})"
        lines += ["", f"## {short}: {title}" if short and short not in title else f"## {title}", "", where.strip(), ""]
        lines += ["| there | here | as |", "|---|---|---|"]
        for one in found:
            if one.paper == paper:
                formula = f"`{one.formula}`".replace("|", "\\|") if one.formula else ""
                lines.append(f"| {one.place} | {link(one, pages)} | {formula} |")
    (folder / "equations.md").write_text("\n".join(lines).lstrip() + "\n", encoding="utf-8")
