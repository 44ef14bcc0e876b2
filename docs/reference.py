"""The reference, made from the docstrings: a page a module, with its names and a line of each on top.

What it has is listed on the committed pages of `docs/reference/`, a page a group: in their toctrees, a module (or one
class of a module, where the rest of it is private) a line.
"""

import ast
import re
from functools import cache
from importlib import import_module
from inspect import getdoc
from pathlib import Path

HERE = Path(__file__).parent
SRC = HERE.parent / "src" / "sfumato"
FOLDER = HERE / "reference"


def groups() -> dict[str, list[str]]:
    """What each group's page lists: `{"samplers": ["sfumato.sample.driver", …], …}`."""
    pages = sorted(page for page in FOLDER.glob("*.md") if not page.name.startswith("sfumato."))
    lines = {page.stem: page.read_text(encoding="utf-8").splitlines() for page in pages}
    return {group: [line for line in text if line.startswith("sfumato.")] for group, text in lines.items()}


def documented() -> set[str]:
    """The full names of all that the reference has."""
    listed = [name for names in groups().values() for name in names]
    return {*listed, *(f"{name}.{member}" for name in listed if is_module(name) for member in exported(name))}


def write(folder: Path) -> None:
    """Write a page for everything listed, and into `folder` an overview of each group, as reference-GROUP.md."""
    wanted = {FOLDER / f"{name}.md": page(name) for names in groups().values() for name in names}
    for old in {*FOLDER.glob("sfumato.*.md")} - {*wanted}:
        old.unlink()
    for group, names in groups().items():
        wanted[folder / f"reference-{group}.md"] = overview(names)
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # what is as it was is not built again
            path.write_text(text, encoding="utf-8")


def page(name: str) -> str:
    """The page of a module or a class; what is on it is autodoc's, and `contents`."""
    kind = "module" if is_module(name) else "class"
    return f"# {name.removeprefix('sfumato.')}\n\n```{{eval-rst}}\n.. auto{kind}:: {name}\n```\n"


def overview(names: list[str]) -> str:
    """A table of modules: the first sentence of each, and its names."""
    rows = ["| module | what is in it |", "|---|---|"]
    for name in names:
        members = " · ".join(f"{{py:obj}}`~{name}.{member}`" for member in table(name))
        about = (sentence(docstring(name)) + " ").replace("|", r"\|")
        rows.append(f"| [{name.removeprefix('sfumato.')}](../reference/{name}.md) | {about}{members} |")
    return "\n".join(rows) + "\n"


def contents(module: str) -> list[str]:
    """How a module's names are imported, and a line of each, in reStructuredText."""
    rows = table(module)
    lines = ["", ".. code-block:: python", "", *(f"   {line}" for line in imports(module, [*rows])), ""]
    lines += [".. list-table::", "   :widths: auto", ""]
    for name, about in rows.items():
        lines += [f"   * - :py:obj:`~{module}.{name}`", f"     - {restructured(about)}"]
    return [*lines, ""] if rows else []


def restructured(text: str) -> str:
    """Plain text with `code` as reStructuredText: the code is marked as such, and the rest keeps its own characters."""
    code, plain = re.compile(r"`([^`]+)`(?=(\w?))"), re.compile(r"([*|\\]|_\b)")
    end, parts = 0, []
    for found in code.finditer(text):
        parts += [plain.sub(r"\\\1", text[end : found.start()]), f"``{found[1]}``", r"\ " if found[2] else ""]
        end = found.end()
    return "".join([*parts, plain.sub(r"\\\1", text[end:])])


def imports(module: str, names: list[str]) -> list[str]:
    """The statements that import the names, each from the outermost package that has it, at most 88 characters long."""
    packages = [".".join(module.split(".")[:depth]) for depth in range(1, module.count(".") + 1)]
    homes = {name: next((one for one in packages if name in exported(one)), module) for name in names}
    lines: list[str] = []
    for name, home in sorted(homes.items(), key=lambda item: item[1]):
        start = f"from {home} import "
        if lines and lines[-1].startswith(start) and len(f"{lines[-1]}, {name}") <= 88:
            lines[-1] += f", {name}"
        else:
            lines.append(start + name)
    return lines


def table(name: str) -> dict[str, str]:
    """The names of a module that have a docstring, in their order, and its first sentence."""
    members = exported(name) if is_module(name) else []
    return {member: sentence(doc) for member in members if (doc := docstring(f"{name}.{member}"))}


END = re.compile(r"(?<!\beq)(?<!\beqs)(?<!\bfig)(?<!\bsec)(?<!\bcf)(?<!\bi\.e)(?<!\be\.g)\.(?= )")
"""A full stop that ends a sentence, and no abbreviation."""


def sentence(doc: str) -> str:
    """The first sentence of a docstring."""
    first = " ".join(doc.strip().split("\n\n")[0].split())
    end = END.search(first)
    return first[: end.end()] if end else first


def docstring(name: str) -> str:
    """The docstring of a module, a class, a function, or of what is assigned; "" if it has none."""
    if is_module(name):
        return ast.get_docstring(tree(name)) or ""
    module, _, member = name.rpartition(".")
    body = tree(module).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == member:
            return ast.get_docstring(node) or ""
        if member in assigned(node):
            says = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
            return says if isinstance(says, str) else ""
    return getdoc(getattr(import_module(module), member)) or ""  # a name that a package has from one of its modules


def exported(module: str) -> list[str]:
    """The public names of a module: its `__all__`, or what it defines."""
    names: list[str] = []
    for node in tree(module).body:
        if "__all__" in assigned(node) and isinstance(node, ast.Assign | ast.AnnAssign):
            return ast.literal_eval(node.value) if node.value else []
        names += [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else assigned(node)
    return [name for name in names if not name.startswith("_")]


def assigned(node: ast.stmt) -> list[str]:
    """The name that a statement gives a value to, if it is one of these."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return [target.id] if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) else []


def is_module(name: str) -> bool:
    return where(name).exists()


def where(module: str) -> Path:
    path = SRC.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(where(module).read_text(encoding="utf-8"))
