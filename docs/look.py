"""`make look`: opens every page that was built, as a reader would, and says what is wrong with it.

Each page of docs/_build/html is opened from its file, without a network, at the width of a desk and of a telephone.
Wrong is: a page or a line of code wider than its window, an error on the console, a file that does not load, a link
within the site that leads nowhere, a picture that says nothing to who cannot see it. Then words are searched.

`python docs/look.py --shots FOLDER PAGE …` also keeps pictures of pages, by day and by night.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urldefrag, urljoin

try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ImportError:
    sys.exit("docs/look.py: not looked at, for want of playwright: `make look` installs it")

BUILT = Path(__file__).parent / "_build" / "html"
WIDTHS = (1280, 390)
SEARCHED = {"karras": "schedules.html", "DPMSolver": "sfumato.sample.dpm.html"}
"""Words, and a page that a search for them finds."""
TOO_WIDE = """([width, code]) => {
    const root = document.documentElement;
    const wide = root.scrollWidth > width ? [`the page is ${root.scrollWidth} wide`] : [];
    if (code) for (const one of document.querySelectorAll("article pre"))
        if (one.scrollWidth > one.clientWidth + 1)
            wide.push(`code ${one.scrollWidth} wide in ${one.clientWidth}: ${one.innerText.trim().slice(0, 60)}`);
    return wide;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=Path, metavar="FOLDER")
    parser.add_argument("pages", nargs="*", help="as how-to/recipes; all that were built, when left out")
    asked = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("docs/look.py: not looked at, for want of a browser: install chromium, as by `apt install chromium`")
    pages = [BUILT / f"{name}.html" for name in asked.pages] or sorted(BUILT.rglob("*.html"))
    pages = [page for page in pages if "_static" not in page.parts]
    if not pages:
        sys.exit("docs/look.py: there is nothing in docs/_build/html: build it by `make docs`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        wrong = [f"{page.relative_to(BUILT)}: {text}" for page in pages for text in links(page)]
        wrong += looked(browser, pages)
        wrong += [] if asked.pages else searched(browser)
        if asked.shots:
            shoot(browser, pages, asked.shots)
        browser.close()
    print("\n".join([*wrong, f"looked at {len(pages)} pages: {len(wrong)} faults"]))
    sys.exit(bool(wrong))


def looked(browser: Browser, pages: list[Path]) -> Iterator[str]:
    """What is wrong with the pages, once they are drawn."""
    for width in WIDTHS:
        tab, heard = opened(browser, width)
        for page in pages:
            heard.clear()
            tab.goto(page.as_uri())
            settle(tab)
            wide = tab.evaluate(TOO_WIDE, [width, width == max(WIDTHS)])
            yield from (f"{page.relative_to(BUILT)} at {width}: {text}" for text in [*wide, *heard])
        tab.close()


def opened(browser: Browser, width: int, scheme: Literal["light", "dark"] = "light") -> tuple[Page, list[str]]:
    """A tab of that width without a network, and the list that what goes wrong in it is added to."""
    heard: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme)
    tab.on("console", lambda message: heard.append(f"console: {message.text}") if message.type == "error" else None)
    tab.on("pageerror", lambda error: heard.append(f"error: {error}"))
    tab.on("requestfailed", lambda request: heard.append(f"not loaded: {request.url}"))
    tab.on("request", lambda request: heard.append(f"asks for {request.url}") if is_foreign(request.url) else None)
    return tab, heard


def is_foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


def settle(tab: Page) -> None:
    """Wait for the formulas, whose width is known when they are set."""
    tab.evaluate("() => window.MathJax?.startup?.promise")


def searched(browser: Browser) -> Iterator[str]:
    """Words that a search from the file, without a server, does not find."""
    for word, page in SEARCHED.items():
        tab, _ = opened(browser, max(WIDTHS))
        tab.goto(f"{(BUILT / 'search.html').as_uri()}?q={word}")
        try:
            tab.wait_for_selector(f"#search-results a[href*='{page}']", timeout=10_000)
        except Exception as error:
            yield f"search.html: {word!r} does not find {page}: {str(error).splitlines()[0]}"
        tab.close()


class Parsed(HTMLParser):
    """The ids of a page, its links, and its pictures without words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.mute: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if given.get(name)]
        if tag == "img" and not given.get("alt", "").strip():
            self.mute.append(given.get("src", ""))


parsed = cache(Parsed)


def links(page: Path) -> Iterator[str]:
    """Links of a page to what is not in the site, and pictures without words."""
    yield from (f"a picture without words: {source}" for source in parsed(page).mute)
    for link in dict.fromkeys(parsed(page).links):
        address, fragment = urldefrag(urljoin(page.as_uri(), link))
        if not address.startswith("file:"):
            continue
        target = Path(unquote(address.removeprefix("file://").partition("?")[0]))
        if not target.is_file():
            yield f"a link to nowhere: {link}"
        elif fragment and target.suffix == ".html" and unquote(fragment) not in parsed(target).ids:
            yield f"a link to no place of its page: {link}"


def shoot(browser: Browser, pages: list[Path], folder: Path) -> None:
    """Pictures of the pages at both widths, by day and by night."""
    folder.mkdir(parents=True, exist_ok=True)
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for width in WIDTHS:
        for scheme in schemes:
            tab, _ = opened(browser, width, scheme)
            for page in pages:
                tab.goto(page.as_uri())
                settle(tab)
                name = page.relative_to(BUILT).with_suffix("").as_posix().replace("/", "-")
                tab.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
            tab.close()


if __name__ == "__main__":
    main()
