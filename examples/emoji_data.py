"""Captioned emoji, made ready to train text to image on: what training draws from, and two kinds of held-out prompts.

python examples/emoji_data.py FILE.parquet... --out FOLDER

A FILE has the columns image (an encoded picture), caption, keywords, style, skin_tone and license. FOLDER gets

- held_out_captions.parquet: every picture of 100 captions, which training never sees in any style;
- held_out_pairs.parquet: 300 pairs of a caption and a style; training sees the caption only in other styles;
- train.parquet: the rest.

Each has the columns image (the bytes as they were), text (the prompts that training draws from, each as likely; the
first is "CAPTION, STYLE"), caption, style, name and license. Every choice is made by a hash of what is chosen, so the
same rows in another order give the same files.
"""

import argparse
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

STYLES = {
    "emojione": "EmojiOne style",
    "emojione-flag": "EmojiOne style",
    "fluent-3d": "3D style",
    "fluent-flat": "flat style",
    "fluent-high-contrast": "black and white",
    "fxemoji": "Firefox style",
    "noto": "Noto style",
    "streamline": "Streamline style",
    "twemoji-flag": "Twemoji style",
}
HELD_OUT_CAPTIONS = 100
HELD_OUT_PAIRS = 300
STYLES_OF_HELD_OUT = 4  # a caption held out altogether has at least so many, so that each can be asked for in several

_WORD = re.compile(r"[^\W\d_]{2,}(?:[ ’'-][^\W\d_]+)*")
_SCHEMA = pa.schema(
    [
        ("image", pa.binary()),
        ("text", pa.list_(pa.string())),
        ("caption", pa.string()),
        ("style", pa.string()),
        ("name", pa.string()),
        ("license", pa.string()),
    ]
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, nargs="+", help="files of captioned emoji")
    options.add_argument("--out", type=Path, required=True, help="the folder for the three files")
    given = options.parse_args()

    rows = read(given.data)
    splits = split(rows)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, part in splits.items():
        # Small groups of rows, since a reader holds one at a time.
        pq.write_table(pa.Table.from_pylist(part, _SCHEMA), given.out / f"{name}.parquet", row_group_size=500)
    print(summary(splits))


def read(files: Iterable[Path]) -> list[Row]:
    """The rows to write, in an order of their own; variants of skin tone, nearly the same picture, are left out."""
    found = [row for file in files for row in pq.read_table(file).to_pylist() if not row["skin_tone"]]
    found.sort(key=lambda row: (row["caption"], row["style"], hashlib.sha256(row["image"]).digest()))
    taken: Counter[str] = Counter()
    rows = []
    for row in found:
        name = f"{row['style']}/{row['caption']}"
        taken[name] += 1
        name += f" {taken[name]}" if taken[name] > 1 else ""
        rows.append(
            {"text": prompts(row), "name": name} | {key: row[key] for key in ("image", "caption", "style", "license")}
        )
    return rows


def prompts(row: Row) -> list[str]:
    """The texts for one picture: mostly caption and style, sometimes with keywords or of them, once with no style."""
    caption, style = row["caption"], STYLES.get(row["style"], f"{row['style']} style")
    words = {word for word in row["keywords"] if _WORD.fullmatch(word) and word.lower() != caption.lower()}

    def drawn(line: str, number: int) -> list[str]:
        return sorted(words, key=lambda word: chance(line, caption, row["style"], word))[:number]

    lines = [f"{caption}, {style}"] * 4
    if words:
        lines.append(", ".join([caption, *drawn("with caption", 2), style]))
    if len(words) >= 3:  # fewer would say too little of the picture
        lines.append(", ".join([*drawn("without", 3), style]))
    return [*lines, caption]


def split(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each file: held-out captions are chosen first, then pairs among the captions that stay."""
    styles: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        styles[row["caption"]].add(row["style"])

    many = [caption for caption in styles if len(styles[caption]) >= STYLES_OF_HELD_OUT]
    captions = set(sorted(many, key=lambda caption: chance("caption", caption))[:HELD_OUT_CAPTIONS])
    rest = ((caption, style) for caption in styles.keys() - captions for style in styles[caption])
    pairs: set[tuple[str, str]] = set()
    for caption, style in sorted(rest, key=lambda pair: chance("pair", *pair)):
        if len(pairs) < HELD_OUT_PAIRS and len(styles[caption]) > 1:
            pairs.add((caption, style))
            styles[caption].remove(style)

    splits: dict[str, list[Row]] = {"train": [], "held_out_pairs": [], "held_out_captions": []}
    for row in rows:
        pair = row["caption"], row["style"]
        part = "held_out_captions" if pair[0] in captions else "held_out_pairs" if pair in pairs else "train"
        splits[part].append(row)
    return splits


def chance(*parts: str) -> bytes:
    """A key to sort by that is as good as random, and the same on every machine."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def summary(splits: dict[str, list[Row]]) -> str:
    """A table of how many pictures of each style every file has."""
    counts = {name: Counter(row["style"] for row in rows) for name, rows in splits.items()}
    lines = [f"{'style':22}" + "".join(f"{name:>20}" for name in counts)]
    for style in sorted({style for of in counts.values() for style in of}):
        lines.append(f"{style:22}" + "".join(f"{of[style]:20,}" for of in counts.values()))
    lines.append(f"{'all':22}" + "".join(f"{of.total():20,}" for of in counts.values()))
    captions = (len({row["caption"] for row in rows}) for rows in splits.values())
    lines.append(f"{'different captions':22}" + "".join(f"{number:20,}" for number in captions))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
