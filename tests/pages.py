"""The pages as those who follow them read them: their blocks of code, and the commands in these and in the text."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if not {"_build", "_generated"} & {*page.parts} and not page.name.startswith("sfumato.")
)
NAMES = {page: page.relative_to(ROOT).with_suffix("").as_posix() for page in PAGES}
BLOCK = re.compile(r"^(?:<!-- not run: (?P<why>[^>]+) -->\n+)?```(?P<kind>\S*)[^\n]*\n(?P<text>.*?)^```$", re.M | re.S)
"""A block of code and, in a comment before it, why a test cannot run it."""
INLINE = re.compile(r"`((?:\.venv/bin/)?sfumato [^`]+)`")


class Block(NamedTuple):
    kind: str
    """Its language, as in "sh"."""
    text: str
    why: str | None
    """Why it is not run, if it is not."""

    def lines(self) -> list[str]:
        """The commands of a block of shell, without prompts, comments and the folder of the program; whole lines."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.kind == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line.replace(".venv/bin/", "") for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["kind"], one["text"], one["why"]) for one in found]


def commands(page: Path) -> Iterator[tuple[list[str], bool]]:
    """The words of every call of `sfumato` in the blocks of a page or in what one printed; whether it is run."""
    for block in blocks(page):
        if block.kind in ("sh", "console"):
            lines = [*block.lines(), *re.findall(r"^again +(sfumato .*)$", block.text, re.M)]
            yield from ((words, block.why is None) for line in lines for words in calls(line))


def mentioned(page: Path) -> Iterator[list[str]]:
    """The same of calls in the text, which need not be whole."""
    for text in INLINE.findall(page.read_text(encoding="utf-8")):
        yield from calls(text.replace("\n", " ").replace("…", "").replace(".venv/bin/", ""))


def calls(line: str) -> Iterator[list[str]]:
    """The calls of `sfumato` in a line of shell, which may be part of a pipe, without what redirects."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in ("|", ";", "&&", "||", ">", ">>", "2>", "2>>", "<", "&"):
            if words and words[0] == "sfumato":
                yield words
            words = []
        else:
            words.append(word)
