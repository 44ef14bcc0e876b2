"""What codecs lose of pictures that none was fitted on: a row for each, two columns for each data set.

    python benchmarks/codecs.py [CODEC...] --data NAME TRAIN TEST [--data …] [--pca 16 24 …] [--speeds] [--markdown …]

A CODEC is a folder, or the name of a system that ships. With --pca the principal components of patches of 8×8 of each
data set's TRAIN stand beside them, so many of them, as `sfumato train TRAIN --recipe pca` fits them. TRAIN and TEST are
whatever training reads. PSNR and SSIM are means over pictures of TEST; --speeds adds how many pictures a second are
encoded and decoded, medians of five passes over 32 of them, taken in turns, by as many threads as OMP_NUM_THREADS says.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import report
import torch
from torch import Tensor

from sfumato.codec import Latent
from sfumato.evaluate.quality import psnr, ssim
from sfumato.library import load_codec
from sfumato.nn.image.pca import PCA
from sfumato.train.closed_form import MOST_FITTED, evenly
from sfumato.train.data_recipe import ImageData

MARK = "<!-- the rest is written by benchmarks/codecs.py -->"
PASSES, TIMED, TOGETHER, PATCH = 5, 32, 50, 8


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("codecs", nargs="*")
    options.add_argument("--data", nargs=3, action="append", required=True, metavar=("NAME", "TRAIN", "TEST"))
    options.add_argument("--pca", type=int, nargs="*", default=[], metavar="CHANNELS")
    options.add_argument("--size", type=int, default=128, help="the side that pictures are brought to")
    options.add_argument("--count", type=int, default=400, help="how many pictures are measured")
    options.add_argument("--speeds", action="store_true")
    options.add_argument("--markdown", type=Path, help=f"write the table to this page, after its line {MARK}")
    given = options.parse_args()

    codecs = {name: load_codec(name) for name in given.codecs}
    for name, train, _ in given.data:
        codecs |= components(name, read(train, given.size, MOST_FITTED), given.pca)
    tests = {name: read(test, given.size, given.count) for name, _, test in given.data}
    speeds = timed(codecs, next(iter(tests.values()))[:TIMED]) if given.speeds else {}
    table = "\n".join([*head(tests, given.speeds), *(row(name, codecs[name], tests, speeds) for name in codecs)])
    counts = ", ".join(f"{len(pictures)} of {name}" for name, pictures in tests.items())
    where = f" {report.place(torch.device('cpu'))}." if speeds else ""
    print(table)
    report.put(given.markdown, MARK, f"Pictures of {given.size}×{given.size}: {counts}.{where}\n\n{table}")


def components(name: str, pictures: Tensor, counts: list[int]) -> dict[str, Latent]:
    """The codecs of so many principal components of the pictures of that name: the first so many of the most."""
    most = PCA(3, max(counts, default=1), PATCH).fit(pictures).state_dict()
    found: dict[str, Latent] = {}
    for count in counts:
        network = PCA(3, count, PATCH)
        network.load_state_dict({key: most[key][: len(own)] for key, own in network.state_dict().items()})
        found[f"{count} components of {name}"] = Latent(network)
    return found


def read(where: str, side: int, most: int) -> Tensor:
    """At most so many pictures, from all over the data, [n, 3, side, side] in [−1, 1]."""
    recipe = ImageData(size=(side, side), channels=3, store="source")
    with tempfile.TemporaryDirectory() as folder:
        dataset = recipe.prepare(where, Path(folder) / "cache.npy", lambda done, of: None)
        index, view = evenly(len(dataset), 1, most, seed=0)
        return recipe.feed(dataset).samples(index, view)


def timed(codecs: Mapping[str, Latent], some: Tensor) -> dict[str, list[float]]:
    """Pictures a second that each encodes and decodes."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in codecs}
    for _ in range(PASSES):
        for name, codec in codecs.items():
            latents = codec.encode(some)
            taken[name].append((_seconds(codec.encode, some), _seconds(codec.decode, latents)))
    return {name: [len(some) / statistics.median(one) for one in zip(*own, strict=True)] for name, own in taken.items()}


def head(tests: Mapping[str, Tensor], speeds: bool) -> tuple[str, str]:
    names = ["codec", "latents", "numbers of a picture"]
    for name in tests:
        names += [f"{name}: PSNR, dB", "SSIM"]
    names += ["encodes a second", "decodes a second"] if speeds else []
    return f"| {' | '.join(names)} |", "| --- " * len(names) + "|"


def row(name: str, codec: Latent, tests: Mapping[str, Tensor], speeds: Mapping[str, list[float]]) -> str:
    height, width = next(iter(tests.values())).shape[-2:]
    channels, high, wide = codec.shape((width, height))
    cells = [name, f"{high}×{wide}×{channels}", f"{channels * high * wide:,}"]
    for pictures in tests.values():
        after = torch.cat([codec.decode(codec.encode(part)) for part in pictures.split(TOGETHER)])
        cells += [f"{psnr(after, pictures).mean():.2f}", f"{ssim(after, pictures).mean():.4f}"]
    return f"| {' | '.join([*cells, *(f'{speed:,.0f}' for speed in speeds.get(name, []))])} |"


def _seconds(work: Callable[[Tensor], Tensor], data: Tensor) -> float:
    began = time.perf_counter()
    work(data)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
