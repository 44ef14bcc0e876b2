"""How fast the networks are, here and in diffusers, beside what this machine's convolutions can do.

All that is compared takes turns in one run, and a figure is the median of its rounds. Each side is as it comes: Sfumato
in the precision that `sfumato.machine` picks (and always in float32 too), channels last, in inference mode, with the
fused AdamW; diffusers in float32, eager, with `no_grad` and plain AdamW. Both clip the gradient in training.
"""

import argparse
import itertools
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import get_args

import diffusers
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from report import place, put
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from sfumato import machine
from sfumato.nn.image.unet import UNet

# the width, its multipliers, and the levels with attention
NETWORKS = {"DDPM for CIFAR-10": (128, (1, 2, 2, 2), (1,)), "`recipes/ddpm.toml`": (64, (1, 2, 2), (1, 2))}
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
STARTS = ("python -c pass", "python -c 'import sfumato'", "sfumato --help", "python -c 'import diffusers'")
MARK = "<!-- the rest is written by benchmarks/network.py -->"


@dataclass
class Entry:
    """One side of a comparison: `run` does the work once, which takes `flop` operations."""

    what: str
    side: str
    precision: str
    flop: int
    run: Callable[[], object]
    turns: list[float] = field(default_factory=list)

    @property
    def ms(self) -> float:
        return 1000 * median(self.turns[1:])  # the first turn sets kernels up, or fills the file cache

    @property
    def gflops(self) -> float:
        return self.flop / self.ms / 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="turns that each side takes")
    options.add_argument("--batch", type=int, default=8, help="pictures in a forward pass")
    options.add_argument("--train-batch", type=int, default=16, help="pictures in a training step")
    options.add_argument("--quick", action="store_true", help="one turn each, of one picture: shows only that it runs")
    options.add_argument("--markdown", type=Path, help=f"also write the tables to this file, after its line {MARK}")
    given = options.parse_args()
    rounds, batch, train_batch = (1, 1, 1) if given.quick else (given.rounds, given.batch, given.train_batch)

    device = machine.pick_device()
    peaks = list(convolutions(device, (1,) if given.quick else (8, 32) if device.type == "cpu" else (64, 512)))
    sides = [entry for name in NETWORKS for entry in networks(name, device, batch, train_batch)]
    programs = [Entry(command, "", "", 0, partial(execute, command)) for command in STARTS]
    where, report = place(device), ""
    for turn in range(rounds + 1):
        for entry in (*peaks, *sides, *programs):
            entry.turns.append(clock(entry.run, least=0.0 if given.quick else 0.3))
        if turn:  # so a run that is broken off leaves the rounds that it made
            head = f"{where}; torch {torch.__version__}, diffusers {diffusers.__version__}; rounds: {turn}."
            starts = table(("process", "ms"), [(f"`{entry.what}`", f"{entry.ms:.0f}") for entry in programs])
            report = "\n\n".join((head, speeds(peaks, sides), starts))
            put(given.markdown, MARK, report)
            print(f"round {turn} of {rounds} is done", file=sys.stderr)
    print(report)


def convolutions(device: torch.device, batches: Sequence[int]) -> Iterator[Entry]:
    """Candidates for the convolution peak: the shapes that most of the networks' time goes into."""
    kinds = itertools.product(get_args(machine.Precision), batches, ((128, 32), (256, 16)), LAYOUTS)
    for precision, batch, (channels, side), layout in kinds:
        randn = partial(torch.randn, dtype=machine.dtype(precision), device=device)
        x = randn(batch, channels, side, side).to(memory_format=LAYOUTS[layout])
        weight = randn(channels, channels, 3, 3).to(memory_format=LAYOUTS[layout])
        what = f"peak: 3×3, {channels} channels, {side}×{side}, batch {batch}, {layout}"
        flop = 2 * 9 * (channels * side) ** 2 * batch
        yield Entry(what, "torch", precision, flop, partial(conv2d, x, weight, padding=1))


def networks(name: str, device: torch.device, batch: int, train_batch: int) -> Iterator[Entry]:
    """A network's forward pass and its training step, on each side."""
    parameters, *flops = cost(ours(name))
    assert cost(theirs(name)) == [parameters, *flops], f"the two sides of {name} differ"
    precisions: set[machine.Precision] = {"float32", machine.pick_precision(device)}
    works = (("forward", drawing, batch), ("training step", training, train_batch))
    for (work, start, pictures), flop in zip(works, flops, strict=True):
        what = f"{name}, {parameters / 1e6:.1f}M: {work}, batch {pictures}"
        for precision in sorted(precisions, reverse=True):
            run = start(ours(name, device), pictures, machine.dtype(precision))
            yield Entry(what, "Sfumato", precision, flop * pictures, run)
        yield Entry(what, "diffusers", "float32", flop * pictures, start(theirs(name, device), pictures))


def ours(name: str, device: torch.device | str = "meta") -> nn.Module:
    width, multipliers, attention = NETWORKS[name]
    with torch.device(device):
        network = UNet(width=width, multipliers=multipliers, attention=attention)
        return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def theirs(name: str, device: torch.device | str = "meta") -> nn.Module:
    width, multipliers, attention = NETWORKS[name]
    kinds = ["AttnDownBlock2D" if level in attention else "DownBlock2D" for level in range(len(multipliers))]
    with torch.device(device):
        return UNet2DModel(
            block_out_channels=tuple(width * multiplier for multiplier in multipliers),
            down_block_types=tuple(kinds),
            up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
            attention_head_dim=None,  # a single head, as DDPM has it
        )


def asking(network: nn.Module, batch: int) -> Callable[[], Tensor]:
    """Asks the network about pictures of 32×32."""
    weight = next(network.parameters())
    x = torch.randn(batch, 3, 32, 32, device=weight.device, dtype=weight.dtype)
    time = torch.linspace(0, 999, batch, device=weight.device)

    def ask() -> Tensor:
        out = network(x, time)
        return out if isinstance(out, Tensor) else out.sample

    return ask


def cost(network: nn.Module) -> list[int]:
    """Parameters, and operations a picture: forward; forward and backward. Counted on shapes alone."""
    with FlopCounterMode(display=False) as both:
        with FlopCounterMode(display=False) as forward:
            out = asking(network, 1)()
        out.sum().backward()
    return [sum(p.numel() for p in network.parameters()), forward.get_total_flops(), both.get_total_flops()]


def drawing(network: nn.Module, batch: int, dtype: torch.dtype | None = None) -> Callable[[], object]:
    network = network.eval() if dtype is None else network.eval().to(dtype)
    mode = torch.inference_mode if isinstance(network, UNet) else torch.no_grad
    return mode()(asking(network, batch))


def training(network: nn.Module, batch: int, dtype: torch.dtype = torch.float32) -> Callable[[], object]:
    ask, device = asking(network, batch), next(network.parameters()).device.type
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=isinstance(network, UNet) or None)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            out = ask()
        (out.float() - 1).square().mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def execute(command: str) -> None:
    """Run a program of this environment."""
    program, *arguments = shlex.split(command)
    subprocess.run([Path(sys.executable).with_name(program), *arguments], check=True, capture_output=True)


def clock(run: Callable[[], object], least: float) -> float:
    """Seconds a run, the mean of as many as take `least` seconds."""
    began, runs = time.perf_counter(), 0
    while not runs or time.perf_counter() - began < least:
        run()
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        runs += 1
    return (time.perf_counter() - began) / runs


def speeds(peaks: Sequence[Entry], sides: Sequence[Entry]) -> str:
    """The best convolution in each precision, then each side beside diffusers and beside that best."""
    best = {entry.precision: entry for entry in sorted(peaks, key=lambda entry: entry.gflops)}
    peer = {entry.what: entry for entry in sides if entry.side == "diffusers"}
    rows = []
    for entry in (*best.values(), *sides):
        ratio = f"{entry.gflops / peer[entry.what].gflops:.2f}" if entry.what in peer else ""
        share = f"{entry.gflops / best[entry.precision].gflops:.0%}"
        figures = (f"{entry.ms:.1f}", f"{entry.gflops:.0f}", ratio, share)
        rows.append((entry.what, entry.side, entry.precision, *figures))
    return table(("what", "side", "precision", "ms", "GFLOP/s", "× diffusers", "of peak"), rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table with its columns lined up."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = (heads, ["-" * width for width in widths], *rows)
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


if __name__ == "__main__":
    main()
