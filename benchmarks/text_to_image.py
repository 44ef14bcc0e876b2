"""Does a text-to-image system draw what it is asked, and is what it draws new? The figures of its model card.

DATA holds `train.parquet`, `held_out_pairs.parquet` (captions and styles that were trained on, but never together) and
`held_out_captions.parquet`, with columns `image` (a file's bytes), `text` (the prompts that it answers to, the plainest
first), `caption` and `style`. The first text is asked for, once for each held-out row and for a seeded choice of the
training rows; sixteen prompts share a seed. What is drawn is compared, in the features of a MobileNet, with all real
pictures of the three files:

- caption: the share of drawn pictures whose nearest real picture carries the very caption asked for; one of the five
  nearest; and style, the share whose nearest is in the style asked for;
- probe: the share whose style, by a linear probe of the training pictures' features, is the one asked for. It can
  separate near twins in two styles, which are one another's nearest. It was fitted to the training pictures;
- Fréchet: the distance of the drawn pictures from the real ones of their set; only sets of one size compare;
- to training: cosine distances to the nearest training picture. Copies would lie nearer than held-out real pictures do.

Codec, size and settings are those of the stage of a cascade that draws last.

Beside them: the real pictures after the codec alone, the most that drawing can reach; and the real pictures as if they
were drawn, each kept from finding itself (their Fréchet distance is that of as many other training pictures).
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq
import torch
from contact_sheet import Pair, page
from report import put, stages
from rich.console import Console
from rich.progress import track
from torch import Tensor

from sfumato import load
from sfumato.codec import Identity
from sfumato.disk import check_writable, replacing
from sfumato.errors import DataError, InputError, SfumatoError
from sfumato.evaluate import probe
from sfumato.evaluate.distance import frechet
from sfumato.evaluate.features import features
from sfumato.evaluate.neighbours import nearest_neighbours, retrieval, spread
from sfumato.evaluate.quality import psnr, ssim
from sfumato.files import write_json
from sfumato.media.image import to_image
from sfumato.media.image.decode import decode
from sfumato.media.image.transform import to_array
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.system import Cascade, System
from sfumato.wording import count

SEEN, PAIRS, CAPTIONS = SETS = ("seen captions", "held-out pairs", "held-out captions")
FILES = dict(zip(SETS, ("train.parquet", "held_out_pairs.parquet", "held_out_captions.parquet"), strict=True))
DRAWN, CODEC, REAL = "drawn", "real, after the codec", "real, without itself"
MARK = "<!-- the rest is written by benchmarks/text_to_image.py -->"
TOGETHER = 16
"""How many prompts share a seed, so that they can be drawn in one batch."""
T = TypeVar("T")


@dataclass(frozen=True)
class Gallery:
    """All real pictures, uint8 [n, c, h, w], with what each shows; `rows` says where each set's file lies in them."""

    pictures: Tensor
    prompts: list[str]
    captions: list[str]
    styles: list[str]
    rows: dict[str, range]


@dataclass(frozen=True)
class Judge:
    """The gallery, the features [n, d] of its pictures, and a probe of styles, fitted to the training ones."""

    gallery: Gallery
    real: Tensor
    style: probe.Probe

    @classmethod
    def of(cls, gallery: Gallery, real: Tensor) -> "Judge":
        seen = gallery.rows[SEEN]
        return cls(gallery, real, probe.fit(real[seen.start : seen.stop], gallery.styles[seen.start : seen.stop]))

    @property
    def training(self) -> Tensor:
        """The features of the training pictures, which the gallery begins with."""
        return self.real[self.gallery.rows[SEEN].start : self.gallery.rows[SEEN].stop]


def main(arguments: Sequence[str] | None = None) -> None:
    given = options().parse_args(arguments)
    for path in (given.markdown, given.json, given.sheet):
        if path is not None:
            check_writable(path.parent)
    network = MobileNet.read(given.features)
    system = load(given.system)
    last = stages(system)[-1]
    gallery = read(given.data, (last.settings.size[0], last.settings.size[1]), last.codec.medium.channels)
    sets, others = choose(gallery, given.count, given.seed)
    settings = {"steps": given.steps, "guidance": given.guidance}
    asked = [gallery.prompts[place] for places in sets.values() for place in places]
    system.stream(asked[0], seeds=[given.seed], **settings)  # settings that cannot be drawn with stop here
    print(f"{len(asked):,} pictures will be drawn, and compared with {len(gallery.captions):,}", file=sys.stderr)

    eye = network.to(system.device)
    judge = Judge.of(gallery, see(gallery.pictures, eye, "real pictures"))
    drawn = draw(system, asked, given.seed, settings).split([len(places) for places in sets.values()])
    drawn = dict(zip(sets, drawn, strict=True))
    seen = {name: see(pictures, eye, name) for name, pictures in drawn.items()}
    result = {
        "system": system.fingerprint(),
        "settings": last.settings.updated(**settings).dump(),
        "seed": given.seed,
        "sets": {name: figures(last, eye, judge, seen[name], sets[name], others) for name in sets},
        "codec": quality(last, gallery),
    }

    report = markdown(result)
    print(report)
    put(given.markdown, MARK, report)
    if given.sheet:
        found = {name: nearest_neighbours(own, judge.real).place.flatten().tolist() for name, own in seen.items()}
        pairs = {name: pairings(gallery, sets[name], drawn[name], found[name])[: given.shown] for name in sets}
        with replacing(given.sheet) as beside:
            page(pairs).save(beside, "PNG")
    if given.json:
        write_json(given.json, result)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", help="a system that ships, or the folder of one or of a run")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the three parquet files")
    parser.add_argument("--features", type=Path, required=True, help="the .npz file of MobileNet's weights")
    parser.add_argument("--count", type=int, default=500, help="how many training captions are asked for")
    parser.add_argument("--seed", type=int, default=0, help="chooses them, and is the first picture's seed")
    parser.add_argument("--guidance", type=float, help="in place of the system's own")
    parser.add_argument("--steps", type=int, help="in place of the system's own")
    parser.add_argument("--markdown", type=Path, help=f"also write the table to this file, after its line {MARK}")
    parser.add_argument("--json", type=Path, help="also write the figures here, unrounded")
    parser.add_argument("--sheet", type=Path, help="a PNG of drawn pictures, each beside its nearest real one")
    parser.add_argument("--shown", type=int, default=24, help="how many of each set the sheet shows")
    return parser


# Pictures -------------------------------------------------------------------------------------------------------------


def read(folder: Path, size: tuple[int, int], colours: int) -> Gallery:
    """The real pictures as the system knows them: over white, at its size and in its colours."""
    tables = {}
    for name, file in FILES.items():
        try:
            tables[name] = pq.read_table(folder / file).to_pydict()
        except (OSError, ValueError) as error:  # Arrow's own errors are ValueErrors
            raise DataError(f"cannot read {folder / file}: {error}") from error
        if missing := sorted({"image", "text", "caption", "style"} - set(tables[name])):
            lacks = ", ".join(missing)
            raise DataError(
                f"{folder / file} should have the columns image, text, caption and style; it has no {lacks}"
            )
        if (rows := len(tables[name]["image"])) < 2:
            raise DataError(f"{folder / file} has {count(rows, 'row')}, and two or more are needed")
    pictures, prompts, captions, styles, rows = [], [], [], [], {}
    for name, table in tables.items():
        rows[name] = range(len(captions), len(captions) + len(table["image"]))
        for number, data in enumerate(progress(table["image"], f"reading {FILES[name]}")):
            image = decode(data, f"{FILES[name]}[{number}]")
            pictures.append(torch.from_numpy(to_array(image, size=size, channels=colours)))
        prompts += [texts[0] for texts in table["text"]]
        captions += table["caption"]
        styles += table["style"]
    return Gallery(torch.stack(pictures), prompts, captions, styles, rows)


def choose(gallery: Gallery, number: int, seed: int) -> tuple[dict[str, list[int]], list[int]]:
    """The places of each set in the gallery, `number` of the training pictures among them; and the other training
    pictures, in random order."""
    if number < 2:
        raise InputError(f"count must be at least 2, not {number}: a Fréchet distance needs two pictures")
    order = np.random.default_rng(seed).permutation(gallery.rows[SEEN]).tolist()
    chosen = {SEEN: order[:number], PAIRS: list(gallery.rows[PAIRS]), CAPTIONS: list(gallery.rows[CAPTIONS])}
    return chosen, order[number:]


def draw(system: System | Cascade, prompts: Sequence[str], seed: int, settings: dict[str, Any]) -> Tensor:
    """One picture for each prompt, as uint8; the seeds count on from `seed`, one for every `TOGETHER` prompts."""
    parts = [prompts[start : start + TOGETHER] for start in range(0, len(prompts), TOGETHER)]
    seeded = list(enumerate(parts, start=seed))
    drawn = [system.generate(part, seeds=[own], **settings).data for own, part in progress(seeded, "drawing")]
    return whole(torch.cat(drawn))


def through(system: System, pictures: Tensor) -> Tensor:
    """Pictures as uint8, encoded and decoded: in [−1, 1], not rounded."""
    done = [system.codec.decode(system.codec.encode(floats(part).to(system.device))) for part in pictures.split(32)]
    return torch.cat(done).cpu()


def see(pictures: Tensor, network: MobileNet, what: str) -> Tensor:
    """Pictures as uint8 → their features."""
    device = next(network.buffers()).device
    parts = progress(pictures.split(64), f"seeing {what}")
    return torch.cat([features(floats(part).to(device), network).cpu() for part in parts])


def pairings(gallery: Gallery, places: list[int], drawn: Tensor, found: list[int]) -> list[Pair]:
    """Each drawn picture beside the real one that was found nearest to it: as they come, so failures among them."""
    return [
        Pair(
            drawn=to_image(floats(picture)),
            real=to_image(floats(gallery.pictures[place])),
            asked=gallery.prompts[asked],
            shows=gallery.prompts[place],
            right=gallery.captions[place] == gallery.captions[asked],
        )
        for asked, picture, place in zip(places, drawn, found, strict=True)
    ]


def whole(pictures: Tensor) -> Tensor:
    return ((pictures + 1) * 127.5).round().to(torch.uint8)


def floats(pictures: Tensor) -> Tensor:
    return pictures / 127.5 - 1


def progress(things: Sequence[T], what: str) -> Iterable[T]:
    return track(things, what, console=Console(stderr=True))


# Figures --------------------------------------------------------------------------------------------------------------


def figures(
    system: System, eye: MobileNet, judge: Judge, seen: Tensor, places: list[int], others: list[int]
) -> dict[str, dict[str, Any]]:
    """What the features say of one set: of the pictures `seen`, and of the real ones that they are beside."""
    real = judge.real
    found = {DRAWN: figure(seen, judge, places, real[places])}
    if not isinstance(system.codec, Identity):
        rebuilt = see(whole(through(system, judge.gallery.pictures[places])), eye, CODEC)
        found[CODEC] = figure(rebuilt, judge, places, real[places])
    like = real[others[: len(places)]] if len(others) >= len(places) else None
    found[REAL] = figure(real[places], judge, places, like, places)
    if set(places) & set(judge.gallery.rows[SEEN]):  # the probe was fitted to these pictures
        for kind in found.keys() - {DRAWN}:
            found[kind]["probe"] = None
    return found


def figure(
    drawn: Tensor, judge: Judge, places: list[int], like: Tensor | None, itself: list[int] | None = None
) -> dict[str, Any]:
    """What the features of `drawn` say, asked for what the gallery shows at `places`; `like` is what they should be
    distributed as, and `itself` are places in the gallery that each may not find."""
    gallery, training = judge.gallery, judge.training
    captions, styles = ([texts[place] for place in places] for texts in (gallery.captions, gallery.styles))
    own = None if itself is None else torch.tensor(itself)
    in_training = None if own is None else torch.where(own < len(training), own, -1)
    right = [guess == style for guess, style in zip(judge.style(drawn), styles, strict=True)]
    return {
        "pictures": len(places),
        **retrieval(drawn, judge.real, captions, gallery.captions, styles, gallery.styles, own)._asdict(),
        "probe": sum(right) / len(right),
        "frechet": None if like is None else frechet(drawn, like),
        "to_training": spread(nearest_neighbours(drawn, training, 1, in_training).distance)._asdict(),
    }


def quality(system: System, gallery: Gallery) -> dict[str, float] | None:
    """What the codec loses of the held-out pictures, on average; None where it loses nothing."""
    if isinstance(system.codec, Identity):
        return None
    pictures = gallery.pictures[gallery.rows[PAIRS].start : gallery.rows[CAPTIONS].stop]
    before, after = floats(pictures), through(system, pictures)
    return {"psnr": psnr(before, after).mean().item(), "ssim": ssim(before, after).mean().item()}


def markdown(result: dict[str, Any]) -> str:
    """The table, between what was asked and what the codec loses."""
    chosen = result["settings"]
    width, height = chosen["size"]
    how = f"{chosen['sampler']['kind']} along {chosen['spacing']['kind']}, {chosen['steps']} steps"
    drawn = f"{width}×{height}, {how}, guidance {chosen['guidance']}, seeds from {result['seed']} on"
    head = f"System `{result['system']}`: {drawn}."
    rows = [["asked", "pictures", "n", "caption", "of five", "style", "probe", "Fréchet", "to training: 5 %", "median"]]
    for name, kinds in result["sets"].items():
        for kind, found in kinds.items():
            shares = (
                "" if found[share] is None else f"{found[share]:.1%}" for share in ("top1", "top5", "style", "probe")
            )
            distance = "" if found["frechet"] is None else f"{found['frechet']:.1f}"
            near = (f"{found['to_training'][point]:.4f}" for point in ("low", "median"))
            rows.append([name, kind, str(found["pictures"]), *shares, distance, *near])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    foot = ""
    if result["codec"] is not None:
        lost = result["codec"]
        foot = f"\n\nThe codec on held-out pictures: PSNR {lost['psnr']:.2f} dB, SSIM {lost['ssim']:.4f}."
    return f"{head}\n\n" + "\n".join(lines) + foot


if __name__ == "__main__":
    try:
        main()
    except SfumatoError as error:
        sys.exit(f"error: {error}")
