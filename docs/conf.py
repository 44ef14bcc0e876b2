"""How the documentation is built: `make docs`."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "Sfumato"
copyright = "the Sfumato authors"
version = release = version_of("sfumato")

# MathJax comes with the pages: they are read without a network as well
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx-mathjax-offline"]
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

add_module_names = False  # every module has its own page, which says where a name is from
autodoc_default_options = {"members": True, "member-order": "bysource", "special-members": "__call__"}
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = "Sfumato"
html_static_path = ["_static"]
html_css_files = ["sfumato.css"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#8f3f1d", "color-brand-content": "#1f6f78"},
    "dark_css_variables": {"color-brand-primary": "#e0936c", "color-brand-content": "#74bcc4"},
}


def setup(app: Any) -> None:
    app.connect("builder-inited", draw)
    app.connect("autodoc-process-docstring", as_restructured_text)
    app.connect("autodoc-process-signature", without_placeholder)
    app.connect("autodoc-skip-member", lambda app, what, name, member, skip, options: skip or is_field(member))


def draw(app: Any) -> None:
    """The pictures, tables and pages that are made from the code."""
    import commands
    import equations
    import figures
    import reference
    import tables

    figures.draw_all(HERE / "_generated")
    tables.write_all(HERE / "_generated")
    commands.write(HERE / "_generated")
    equations.write(HERE / "_generated")
    reference.write(HERE / "_generated")


def as_restructured_text(app: Any, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """What a docstring says and, on the page of a module, its names below."""
    import reference

    contents = reference.contents(name) if what == "module" else []
    lines[:] = [*reference.restructured("\n".join(lines)).split("\n"), *contents]


def without_placeholder(
    app: Any, what: str, name: str, item: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """A protocol has no constructor to show, only the placeholder that Python gives it."""
    return ("", None) if what == "class" and signature == "(*args, **kwargs)" else None


def is_field(member: object) -> bool:
    """Whether a member is a field of a named tuple, whose docstring only says which: the class explains it."""
    return (getattr(member, "__doc__", None) or "").startswith("Alias for field number")
