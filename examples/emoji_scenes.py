"""Scenes of captioned emoji: one thing or several, in places, colours and numbers, and faces that wear something.

python examples/emoji_scenes.py DATA/train.parquet --out scenes.parquet --count 100000 [--seed 0] [--start 0]

train.parquet is what emoji_data.py writes. A scene is a pure function of the seed and its number, so that two files of
the numbers 0 to 499 and 500 to 999 are one of 0 to 999. The columns are image (PNG, 128×128), text (the caption, in a
list), layout (72 numbers, [12, 6] row by row: see `Scene.layout`) and kind. `--layouts-only` leaves the images out.
No scene has a pair that emoji_held_out.json lists; with `--held-out`, each has one.
`--sheet sheet.png` draws 64 of the scenes with their captions, instead of a file of them or beside it.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.progress import track
from scenes.draw import scene
from scenes.kinds import HELD_OUT, KINDS
from scenes.scene import Scene, picture
from scenes.sheet import sheet
from scenes.things import Things
from scenes.wordings import WORDINGS

from sfumato.disk import check_writable, replacing

__all__ = ["KINDS", "WORDINGS", "Scene", "Things", "picture", "scene"]

GROUP = 1000  # rows; a reader holds a group at a time


def main() -> None:
    given = _options()
    things = Things(given.data)
    numbers = range(given.start, given.start + given.count)
    if given.sheet:
        shown = [scene(things, given.seed, number, given.kinds, given.held_out) for number in numbers[:64]]
        with replacing(given.sheet) as beside:
            pictures = [Image.fromarray(picture(one)) for one in shown]
            sheet(pictures, [one.caption for one in shown], columns=8).save(beside, "PNG")
        print(given.sheet)
    if given.out:
        drawn = (scene(things, given.seed, number, given.kinds, given.held_out) for number in track(numbers, "scenes"))
        write(given.out, drawn, not given.layouts_only)
        print(given.out)


def write(file: Path, scenes: Iterator[Scene], images: bool = True) -> None:
    """Writes scenes to a Parquet file, whole or not at all."""
    columns = [("image", pa.binary())] if images else []
    columns += [("text", pa.list_(pa.string())), ("layout", pa.list_(pa.float32())), ("kind", pa.string())]
    schema = pa.schema(columns)
    with replacing(file) as beside, pq.ParquetWriter(beside, schema) as writer:
        rows = []
        for one in scenes:
            rows.append(row(one, images))
            if len(rows) == GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def row(one: Scene, image: bool = True) -> dict[str, object]:
    """The row of a scene."""
    found: dict[str, object] = {"text": [one.caption], "layout": one.layout().ravel(), "kind": one.kind}
    return found | {"image": png(one)} if image else found


def png(one: Scene) -> bytes:
    """The picture of a scene, quickly packed."""
    packed = io.BytesIO()
    Image.fromarray(picture(one)).save(packed, "PNG", compress_level=1)
    return packed.getvalue()


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="train.parquet, as emoji_data.py writes it")
    options.add_argument("--out", type=Path, help="the file of scenes")
    options.add_argument("--count", type=int, default=64, help="how many")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--start", type=int, default=0, help="the number of the first")
    options.add_argument("--kinds", nargs="+", choices=[*KINDS, *WORDINGS], help="only these; all, if none is given")
    options.add_argument("--held-out", action="store_true", help="scenes of held-out pairs")
    options.add_argument("--layouts-only", action="store_true", help="no images")
    options.add_argument("--sheet", type=Path, help="a picture of 64 of them")
    given = options.parse_args()
    if problem := _problem(given):
        options.error(problem)
    given.kinds = given.kinds or (list(HELD_OUT) if given.held_out else [*KINDS, *WORDINGS])
    for path in filter(None, (given.out, given.sheet)):
        check_writable(path.parent)
    return given


def _problem(given: argparse.Namespace) -> str | None:
    """What is wrong with the options, before anything long starts."""
    if not (given.out or given.sheet):
        return "nothing to write: give --out, --sheet, or both"
    if given.count < 1:
        return f"--count is at least 1, not {given.count}"
    if given.held_out and (none := set(given.kinds or ()) - set(HELD_OUT)):
        return f"no pair is held out of the kind {min(none)}: give --kinds {' '.join(HELD_OUT)}, or fewer"
    return None


if __name__ == "__main__":
    main()
