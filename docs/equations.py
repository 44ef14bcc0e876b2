"""The index of equations, made from the docstrings: which function is which equation of which paper.

`python docs/equations.py` prints it; with words, as in `python docs/equations.py DDPM eq. 7` or `… cosine schedule`,
the rows that have them all.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from papers import PAPERS
from reference import SRC, documented

NUMBER = r"(?:(?:[IVX]+\.)?[A-Z]?\d+(?:\.\d+)*|[A-Z](?:\.\d+)*\b)"
KINDS = {"eq.": "eqs?\\.", "algorithm": "[Aa]lgorithms?", "table": "[Tt]ables?", "technique": "[Tt]echniques?"}
PARTS = {"section": "[Ss]ections?", "appendix": "[Aa]ppendi(?:x|ces)"}
"""Parts of a paper, for what has no number of its own: left out where the reference lacks the object."""
PLACE = re.compile(rf"\b({'|'.join((KINDS | PARTS).values())}) ({NUMBER}(?:(?:, | and | to |, and ){NUMBER})*)")
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
    text: str
    """The docstring, in which words are looked for."""


def equations() -> list[Equation]:
    """All of them, by paper, place and module. Raises a `ValueError` for an equation of no known paper."""
    pages = documented()
    found = {one[:4]: one for path in sorted(SRC.rglob("*.py")) for one in of_module(path)}
    listed = (one for one in found.values() if one.place.split(" ")[0] in KINDS or target(one, pages))
    return sorted(listed, key=lambda one: (one.paper, kind(one.place), numbers(one.place), one.module, one.name))


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
        if word(found[1]) in PARTS and (not named or SHORT.get(named[0][0], named[0][0]) not in PAPERS):
            continue
        if not named:
            raise ValueError(f"{module}: {name or 'the docstring'} names {found[0]!r} of no paper in docs/papers.py")
        paper = SHORT.get(named[0][0], named[0][0])
        if paper not in PAPERS:
            raise ValueError(
                f"{module}: {name} names {found[0]!r} of {paper}, which docs/papers.py lacks: add its title"
            )
        for number in each(found[2]):
            yield Equation(paper, f"{word(found[1])} {number}", module, name, formula, text)


def word(written: str) -> str:
    """What is numbered, in one word: "eq." for "eqs."."""
    return next(word for word, pattern in (KINDS | PARTS).items() if re.fullmatch(pattern, written))


def each(written: str) -> list[str]:
    """The numbers of "4, 5 and 7"."""
    return re.split(r", and |, | and ", written)


def kind(place: str) -> int:
    return [*KINDS, *PARTS].index(place.split(" ")[0])


def numbers(place: str) -> list[int]:
    return [int(part) if part.isdigit() else ord(part) for part in re.findall(r"\d+|\b[A-Z]\b", place)]


def target(one: Equation, pages: set[str]) -> str | None:
    """The full name under which the reference has the object, if it does."""
    owner, dot, member = one.name.partition(".")
    for module in (one.module, one.module.rpartition(".")[0]) if one.name else ():
        if f"{module}.{owner}" in pages:
            return f"{module}.{owner}{dot}{member}"
    return one.module if not one.name and one.module in pages else None


def link(one: Equation, pages: set[str]) -> str:
    """A link to the object in the reference. Raises a `KeyError` where it is not there."""
    there = target(one, pages)
    if there is None:
        name = f"{one.module}.{one.name.partition('.')[0]}".rstrip(".")
        raise KeyError(f"the reference (docs/reference/) lacks {name}, which has {one.place} of {one.paper}")
    return f"{{py:obj}}`{one.name} <{there}>`" if one.name else f"{{py:mod}}`{there}`"


def lines(words: list[str]) -> Iterator[str]:
    """The rows that have all of the words: in the paper's names and, without a place like eq. 7, in the docstring."""
    asked = " ".join(words)
    places = {f"{word(found[1])} {number}" for found in PLACE.finditer(asked) for number in each(found[2])}
    wanted = PLACE.sub(" ", asked).lower().split()
    for one in equations():
        short, title = PAPERS[one.paper]
        row = " ".join((one.paper, short, title, one.name, "" if places else f"{one.module} {one.text}")).lower()
        if (not places or one.place in places) and all(part in row for part in wanted):
            name = f"{one.module}.{one.name}".rstrip(".")
            yield f"{short or one.paper}, {one.place}: {name}  {one.formula}".rstrip()


def write(folder: Path) -> None:
    """Write the index into `folder`, as equations.md: a table for each paper, the oldest first."""
    pages, found = documented(), equations()
    rows: list[str] = []
    for paper in dict.fromkeys(one.paper for one in found):
        short, title = PAPERS[paper]
        where = f" ([arXiv:{paper}](https://arxiv.org/abs/{paper}))" if paper[:4].isdigit() else f" ({paper})"
        rows += ["", f"## {short}: {title}" if short and short not in title else f"## {title}", "", where.strip(), ""]
        rows += ["| there | here | as |", "|---|---|---|"]
        for one in found:
            if one.paper == paper:
                formula = f"`{one.formula}`".replace("|", "\\|") if one.formula else ""
                rows.append(f"| {one.place} | {link(one, pages)} | {formula} |")
    (folder / "equations.md").write_text("\n".join(rows).lstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    print("\n".join(lines(sys.argv[1:])) or "no equation has all of these words: try fewer")
