"""The second stage of the system `emoji`: a memory of sprites.

    python examples/emoji_sprites.py DATA/train.parquet --out RUN/sprites

train.parquet is what emoji_data.py writes. The system puts sprites where a layout says. Its memory knows a picture
by its caption, by the words of emoji_scenes.py for it, and by those keywords that no other caption has.
"""

import argparse
import io
from pathlib import Path

import pyarrow.parquet as pq
import torch
from PIL import Image
from rich.progress import track
from scenes.pictures import STYLES
from scenes.things import Things
from scenes.words import aliases, plural
from torch import Tensor

from sfumato import System
from sfumato.codec import Identity
from sfumato.condition import EncodedText, MiniLM, Nothing
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Flow
from sfumato.denoise import Denoiser
from sfumato.media import Image as Pixels
from sfumato.nn.image.sprites import Sprites
from sfumato.sample import DDIM
from sfumato.system.settings import Settings

SIDE = 128


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="train.parquet of emoji_data.py")
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    things = Things(given.data)
    print(sprites_system(things, named(things, keywords(given.data))).save(given.out))


def sprites_system(things: Things, names: dict[str, list[int]]) -> System:
    """The system of one step that draws pictures of layouts."""
    pictures = things.pictures
    files = [file(pictures.image(name)) for name in track(pictures.names, "sprites")]
    network = Sprites(len(names), len(files), sum(map(len, files)), styles=len(STYLES), side=SIDE)
    hues = torch.tensor([pictures.hue(name) or (-1.0, 0.0, 0.0) for name in pictures.names])
    network.memory.fit(vectors([*names]), torch.tensor([*names.values()], dtype=torch.int32), files, hues)
    settings = Settings(size=(SIDE, SIDE), sampler=DDIM(), steps=1)
    return System(Identity(Pixels(3)), Nothing(), Denoiser(network, Flow(), X0Prediction()), settings)


def named(things: Things, keywords: dict[str, str]) -> dict[str, list[int]]:
    """Every name, in small letters, with the number of its picture in each style, −1 where there is none. What a word
    of scenes means goes before a caption, that before an alias, and that before a keyword."""
    pictures = things.pictures
    number = {name: place for place, name in enumerate(pictures.names)}
    found: dict[str, list[int]] = {}

    def add(name: str, picture: str) -> None:
        own = found.setdefault(name.lower().replace("’", "'"), [-1] * len(STYLES))
        style = [*STYLES].index(pictures.styles[picture])
        own[style] = number[picture] if own[style] < 0 else own[style]

    for thing, shown in (one for words in things.by_style.values() for one in words.values()):
        for name in (*thing.words, *thing.plurals):
            add(name, shown)
    for name in pictures.names:
        add(pictures.captions[name], name)
    captions, further = {*found}, aliases()
    shown = [(thing.word, name) for words in things.by_style.values() for thing, name in words.values()]
    for word, name in [*shown, *((pictures.captions[name], name) for name in pictures.names)]:
        for other in (other for other in further.get(word, ()) if other not in captions):
            add(other, name)
            add(other if other.endswith("s") else plural(other), name)
    unique = {keyword: caption for keyword, caption in keywords.items() if keyword.lower() not in found}
    for name in pictures.names:
        for keyword in (keyword for keyword, caption in unique.items() if caption == pictures.captions[name]):
            add(keyword, name)
    return found


def keywords(data: Path) -> dict[str, str]:
    """The keywords that one caption alone has, with the caption."""
    rows = pq.read_table(data, columns=["text", "caption"]).to_pylist()
    found: dict[str, set[str]] = {}
    for row in rows:
        for word in {word for text in row["text"] for word in text.split(", ")[:-1]} - {row["caption"]}:
            found.setdefault(word, set()).add(row["caption"])
    return {word: captions.pop() for word, captions in found.items() if len(captions) == 1}


def file(image: Image.Image) -> bytes:
    """A picture in RGBA as a file of WebP, without loss."""
    packed = io.BytesIO()
    image.save(packed, "WEBP", lossless=True, quality=100, method=6)  # the shortest
    return packed.getvalue()


def vectors(names: list[str]) -> Tensor:
    """The vectors of texts, [names, 384]."""
    encoder = EncodedText(MiniLM(), 32, 0.0)
    found = [encoder(names[start : start + 128]).vector for start in range(0, len(names), 128)]
    return torch.cat([one for one in found if one is not None])


if __name__ == "__main__":
    main()
