"""Fits the reader of scenes (`reader.py`) on real scenes alone, made as it goes from the training pictures.

    python benchmarks/fit_reader.py --data DATA --out benchmarks/reader.safetensors

A fit that was stopped goes on from the last 200 steps: what it needs for that lies beside OUT.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from cells import Square, covered
from emoji_scenes import Scene, Things, picture, scene
from reader import Reader
from reader_loss import UNKNOWN, Batch, Truth, loss
from rich.console import Console
from rich.progress import Progress
from scenes import words
from scenes.pictures import COLOURS, STYLES
from scenes.worn import WEARABLES
from torch import Tensor, nn

from sfumato.disk import check_writable
from sfumato.errors import FormatError, SfumatoError
from sfumato.files import read_tensors, write_tensors

BATCH, RATE, WARMUP = 32, 2e-3, 100
HELD_OUT = 4
"""How many scenes of a batch are of one picture of `held_out_pairs.parquet`: a reader has to know every thing in every
style, and systems alone are not to have seen these."""
ECHO = 2
"""How many steps see the same scenes, each with blur, noise and squares of its own: to make them takes as long as to
learn from them (data echoing, arXiv:1907.05550)."""


def truths(scene: Scene, numbers: dict[str, int]) -> list[Truth]:
    """What stands in a scene; a thing that is in no colour asked for is in its own, if its picture has one."""
    worn = {place for _, place in scene.facts.get("wears", ())}
    found = []
    for place, (thing, placed) in enumerate(zip(scene.facts["things"], scene.placed, strict=True)):
        colour = thing["colour"] or scene.pictures.colour(placed.picture)
        answers = (
            numbers.get(thing["word"], UNKNOWN),
            UNKNOWN if colour is None else list(COLOURS).index(colour),
            list(STYLES.values()).index(scene.style),
        )
        square = Square.of(thing["box"])
        found.append(Truth(answers, place in worn, square.x, square.y, square.side, covered(scene, place)))
    return found


def numbered(names: Sequence[str]) -> dict[str, int]:
    """The number of each word, also by the captions of its pictures."""
    known = words.things()
    return {name: names.index(word) for word in names for name in (*known[word].captions, word)}


class Fit:
    """A reader in fitting: its weights, their average, the optimizer and the steps that were made.

    Every step is a function of what was before it and of its number, so that a fit that was stopped and read again goes
    on as if it had not been.
    """

    def __init__(self, data: Path, steps: int, seed: int = 0, init_from: Path | None = None) -> None:
        torch.manual_seed(seed)
        self.things, self.held_out = Things(data / "train.parquet"), Things(data / "held_out_pairs.parquet")
        self.steps, self.step, self.seed = steps, 0, seed
        self.words = sorted(words.things())
        self.reader = Reader(self.words, list(WEARABLES), list(COLOURS), list(STYLES.values()))
        self.reader.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if init_from:
            self._begin(Reader.load(init_from))
        self.average = {name: tensor.clone() for name, tensor in self.reader.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self.reader.parameters(), RATE, weight_decay=0.02)
        self.numbers = numbered(self.words)
        self._batch = lru_cache(1)(self._made)

    def once(self) -> tuple[float, float]:
        """One step; the losses of finder and namer."""
        batch = self._batch(self.step // ECHO)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * self._share()
        losses = loss(self.reader.finder, self.reader.namer, batch, torch.Generator().manual_seed(self.step))
        self.optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(self.reader.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        keep = min(0.995, self.step / (self.step + 10))
        for name, tensor in self.reader.state_dict().items():
            self.average[name].lerp_(tensor, 1 - keep)
        return losses[0].item(), losses[1].item()

    def _made(self, number: int) -> Batch:
        first = number * BATCH
        scenes = [scene(self.things, self.seed, first + place) for place in range(HELD_OUT, BATCH)]
        scenes += [scene(self.held_out, self.seed, first + place, ["plain", "one"]) for place in range(HELD_OUT)]
        return Batch.of_examples([(picture(one), truths(one, self.numbers)) for one in scenes])

    def _begin(self, other: Reader) -> None:
        """Raises a `FormatError` for a reader of other words."""
        if other.words != tuple(self.words):
            raise FormatError("the reader to begin with knows other words than scenes have now: fit one from nothing")
        self.reader.load_state_dict(other.state_dict())

    def _share(self) -> float:
        """Of the learning rate: it rises for `WARMUP` steps, and falls along half a cosine."""
        return min(1.0, (self.step + 1) / WARMUP) * (1 + math.cos(math.pi * self.step / self.steps)) / 2

    def save(self, path: Path) -> None:
        state = self.optimizer.state_dict()["state"]
        moments = {f"{place}.{name}": value for place, own in state.items() for name, value in own.items()}
        tensors = {"reader": self.reader.state_dict(), "average": self.average, "optimizer": moments}
        flat = {f"{part}.{name}": value for part, own in tensors.items() for name, value in own.items()}
        write_tensors(path, flat, {"step": self.step, "words": self.words})

    def load(self, path: Path) -> None:
        """Raises a `FormatError` for the fit of another reader."""
        tensors, about = read_tensors(path)
        if about.get("words") != self.words:
            raise FormatError(f"{path} is of a fit to other words than scenes have now: remove it to begin anew")
        parts: dict[str, dict[str, Tensor]] = {"reader": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.reader.load_state_dict(parts["reader"])
        self.average = parts["average"]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            place, _, kind = name.partition(".")
            state.setdefault(int(place), {})[kind] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step = about["step"]

    def fitted(self) -> Reader:
        """A reader of the averaged weights."""
        reader = Reader(self.words, self.reader.worn, self.reader.colours, self.reader.styles)
        reader.load_state_dict(self.average)
        return reader.eval()


def main() -> None:
    given = options().parse_args()
    check_writable(given.out.parent)
    checkpoint = given.out.with_suffix(".checkpoint.safetensors")
    fit = Fit(given.data, given.steps, given.seed, given.init_from)
    if checkpoint.exists():
        fit.load(checkpoint)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("fitting", total=given.steps, completed=fit.step)
        while fit.step < given.steps:
            fit.once()
            progress.update(task, completed=fit.step)
            if fit.step % 200 == 0:
                fit.save(checkpoint)
    fit.fitted().save(given.out)
    print(given.out)


def options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="the folder that examples/emoji_data.py writes")
    options.add_argument("--out", type=Path, required=True, help="the reader, a .safetensors file")
    options.add_argument("--steps", type=int, default=6200, help=f"of {BATCH} scenes each")
    options.add_argument("--seed", type=int, default=0, help="of the scenes")
    options.add_argument("--init-from", type=Path, help="a reader to begin with")
    return options


if __name__ == "__main__":
    try:
        main()
    except SfumatoError as error:
        sys.exit(f"error: {error}")
