"""The page for those who come from other tools is made from the tables that the code reads."""

import importlib.util
from pathlib import Path

from sfumato.foreign.samplers import NOT_HERE, SAMPLER_NAMES, SPACING_NAMES, SPACINGS_NOT_HERE
from sfumato.foreign.words import DRAWING_WORDS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_every_word_that_the_code_knows(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec and spec.loader
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    tables._write_foreign(tmp_path)
    page = (DOCS / "how-to" / "coming-from.md").read_text(encoding="utf-8")
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert len(written) == 6 and all(f"_generated/{name}" in page for name in written)
    text = "".join(written.values())
    known = [name for method in (*SAMPLER_NAMES, *SPACING_NAMES) for name in method.names]
    assert [name for name in (*known, *NOT_HERE, *SPACINGS_NOT_HERE, *DRAWING_WORDS) if f"`{name}`" not in text] == []
