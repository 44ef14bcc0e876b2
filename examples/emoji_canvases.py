"""Scenes with their canvases: what the third stage of the system `emoji` is trained on.

    python examples/emoji_canvases.py scenes.parquet --data DATA/train.parquet --sprites RUN/sprites --out FILE.parquet

scenes.parquet is what emoji_scenes.py writes. FILE.parquet has a column more, conditioning_image (PNG, 128×128): what
the sprites draw of the true layout of each scene.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from rich.progress import track
from scenes.pictures import STYLES

from sfumato import System
from sfumato.condition import Phrases
from sfumato.condition.phrases import indivisible
from sfumato.files import replacing
from sfumato.nn.image.sprites import Sprites

PLACES = 5
TOGETHER = 50


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("scenes", type=Path, help="a file of emoji_scenes.py")
    options.add_argument("--data", type=Path, required=True, help="train.parquet of emoji_data.py, for its captions")
    options.add_argument("--sprites", type=Path, required=True, help="the system of emoji_sprites.py")
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    captions = set(pq.read_table(given.data, columns=["caption"])["caption"].to_pylist())
    write(given.scenes, Canvases(System.load(given.sprites, "cpu", "float32"), captions), given.out)
    print(given.out)


def write(scenes: Path, canvases: "Canvases", out: Path) -> None:
    """The file of scenes with a column more, whole or not at all."""
    source = pq.ParquetFile(scenes)
    with replacing(out) as beside, pq.ParquetWriter(beside, _schema(source.schema_arrow)) as writer:
        for group in track(range(source.num_row_groups), "canvases"):
            rows = source.read_row_group(group).to_pylist()
            for row, canvas in zip(rows, canvases(rows), strict=True):
                row["conditioning_image"] = _png(canvas)
            writer.write_table(pa.Table.from_pylist(rows, writer.schema))


class Canvases:
    """What a system of sprites draws of scenes."""

    def __init__(self, system: System, captions: set[str]) -> None:
        network = system.denoiser.network
        assert isinstance(network, Sprites)
        self.network = network
        self.phrases = Phrases(names=indivisible(captions), styles=tuple(STYLES.values()), things=PLACES)

    @torch.no_grad()
    def __call__(self, rows: list[dict[str, Any]]) -> Iterator[np.ndarray]:
        """The canvas of each scene, uint8 [128, 128, 3]."""
        captions = [row["text"][0] for row in rows]
        things, masks = self.phrases.placed(captions)  # of all at once, since many name the same
        layouts = torch.tensor(np.array([row["layout"] for row in rows], np.float32)).view(len(rows), -1, 1 + PLACES)
        contexts = torch.cat([things, layouts.transpose(1, 2)], dim=2)
        for context, mask in zip(contexts.split(TOGETHER), masks.split(TOGETHER), strict=True):
            blank = torch.zeros(len(context), 3, self.network.size, self.network.size)
            drawn = self.network(blank, torch.ones(len(context)), context=context, mask=mask)
            yield from ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _png(canvas: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(canvas).save(packed, "PNG", compress_level=1)
    return packed.getvalue()


def _schema(of: pa.Schema) -> pa.Schema:
    return of.append(pa.field("conditioning_image", pa.binary()))


if __name__ == "__main__":
    main()
