"""What solvers cost beside the network, and how near to the data they come in how many evaluations.

    python benchmarks/solvers.py cost
    python benchmarks/solvers.py distance --data FOLDER --run runs/edm

`cost` times whole trajectories of DDPM's U-Net for CIFAR-10 (35.7M parameters) and, within them, the network: the
difference is the solver's own. `distance` draws from a trained system with every solver at the same seeds, and
takes the Fréchet distance to the real test pictures, in features of a classifier fitted on the real training pictures.
Each figure is kept as soon as it is found, so that an interrupted run goes on where it was.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from sfumato import machine
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.parameterization import EpsPrediction
from sfumato.core.schedule import VP, Schedule
from sfumato.data import open_source, prepare
from sfumato.denoise import Denoiser, DenoiserLike
from sfumato.evaluate.distance import frechet
from sfumato.evaluate.recognition import ClassIds, Convolutions, agreement, convolutions
from sfumato.library import load_system
from sfumato.nn.image.unet import UNet
from sfumato.parts import SAMPLERS
from sfumato.sample import sample
from sfumato.system import System

BUDGETS = (5, 8, 10, 20, 50)
SOLVERS = (
    "ddim",
    "ddpm",
    "heun",
    "dpm++2s",
    "dpm++,order=2",
    "dpm++,order=3",
    "dpm++,order=2,eta=1.0",
    "unipc,order=2",
    "unipc,order=3",
    "ipndm",
    "lms",
)
PATIENT = ("ddim", "ddpm", "heun", "dpm++,order=2", "dpm++,order=2,eta=1.0")
"""The solvers that are measured in 50 evaluations too; by then those of higher order have long arrived."""
LONG = ("ddpm", 1000)
MARK = "<!-- the rest is written by benchmarks/solvers.py -->"


class Clock:
    """Counts the calls of a denoiser, and the seconds spent in them."""

    def __init__(self, denoiser: DenoiserLike) -> None:
        self.denoiser, self.calls, self.seconds = denoiser, 0, 0.0

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        began = time.perf_counter()
        estimate = self.denoiser(x_t, level, condition)
        self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - began
        return estimate


class Nothing(torch.nn.Module):
    """In the place of a network: its answer costs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return x


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = options.add_subparsers(dest="what", required=True)
    cost_options = what.add_parser("cost", help="the time outside the network")
    cost_options.add_argument("--batch", type=int, default=8)
    cost_options.add_argument("--steps", type=int, default=4, help="steps of a trajectory")
    cost_options.add_argument("--rounds", type=int, default=3, help="turns that each solver takes")
    distance_options = what.add_parser("distance", help="Fréchet distance by solver and evaluations")
    distance_options.add_argument("--data", type=Path, required=True, help="a folder with IDX files of both splits")
    distance_options.add_argument("--run", type=Path, required=True, help="a trained system")
    distance_options.add_argument("--count", type=int, default=1000, help="pictures a figure")
    distance_options.add_argument("--budgets", type=int, nargs="*", default=list(BUDGETS))
    distance_options.add_argument("--long", action="store_true", help=f"also {LONG[0]} in {LONG[1]:,} evaluations")
    distance_options.add_argument(
        "--results", type=Path, default=Path("out/solvers.json"), help="where figures are kept"
    )
    distance_options.add_argument("--markdown", type=Path, help=f"also write the table here, after its line {MARK}")
    given = options.parse_args()
    if given.what == "cost":
        print(cost(given.batch, given.steps, given.rounds))
    else:
        report = distance(given)
        print(report)
        if given.markdown:
            text = given.markdown.read_text(encoding="utf-8")
            given.markdown.write_text(f"{text.partition(MARK)[0]}{MARK}\n\n{report}\n", encoding="utf-8")


def cost(batch: int, steps: int, rounds: int) -> str:
    """The share of a trajectory that is spent outside the denoiser, and the denoiser's own outside its network."""
    device = machine.pick_device()
    network = UNet(width=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(1,)).to(device).eval()
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    path = levels(VP(), UniformSpacing(), steps)
    x = torch.randn(batch, 3, 32, 32, device=device)
    named = {text: SAMPLERS.parse(text) for text in SOLVERS}
    shares: dict[str, list[float]] = {text: [] for text in named}
    for _ in range(rounds):
        for text, sampler in named.items():
            whole, inside = trajectory(sampler, Denoiser(network, VP(), EpsPrediction()), x, path)
            _, spent = trajectory(sampler, Denoiser(Nothing(), VP(), EpsPrediction()), x, path)
            # the denoiser's own arithmetic counts as outside: measured with a network that costs nothing
            shares[text].append((whole - inside + spent) / whole)
    lines = [f"{machine.name(device)}; 35.7M U-Net, 32×32, batch {batch}; median of {rounds}.", ""]
    lines += ["| solver | outside the network |", "|---|---|"]
    lines += [f"| `{text}` | {median(found):.2%} |" for text, found in shares.items()]
    return "\n".join(lines)


def trajectory(sampler: Any, denoiser: DenoiserLike, x: Tensor, path: list[Level]) -> tuple[float, float]:
    """The seconds of a trajectory, and those spent in the denoiser."""
    clock = Clock(denoiser)
    began = time.perf_counter()
    for _ in sample(clock, sampler, x, path, noise=Noise(range(len(x)))):
        pass
    return time.perf_counter() - began, clock.seconds


def distance(given: argparse.Namespace) -> str:
    """The table of Fréchet distances, and of pictures read as asked."""
    system = load_system(given.run)
    known = json.loads(given.results.read_text()) if given.results.exists() else {}
    ask = {"system": system.fingerprint(), "count": given.count}
    figures: dict[str, Any] = known.get("figures", {}) if known.get("of") == ask else {}
    wanted = [(text, budget) for budget in given.budgets for text in (SOLVERS if budget < 50 else PATIENT)]
    wanted += [LONG] if given.long else []
    read, truth = reader(given.data)
    for text, budget in wanted:
        if (key := f"{text} {budget}") not in figures and (steps := steps_for(text, budget)):
            figures[key] = measure(system, text, steps, given.count, read, truth)
            given.results.parent.mkdir(parents=True, exist_ok=True)
            given.results.write_text(json.dumps({"of": ask, "figures": figures}, indent=1))
            print(key, figures[key], flush=True)
    budgets = [*given.budgets, *([LONG[1]] if given.long else [])]
    lines = [f"{system.about.get('recipe', '')} {given.count:,} pictures a figure, no guidance.", ""]
    lines += [f"| solver | {' | '.join(f'{budget:,}' for budget in budgets)} |", "|---" * (1 + len(budgets)) + "|"]
    for text in SOLVERS:
        cells = [figures.get(f"{text} {budget}") for budget in budgets]
        row = [f"{cell['frechet']:.2f}" if cell else "" for cell in cells]
        lines.append(f"| `{text}` | {' | '.join(row)} |")
    return "\n".join(lines)


def steps_for(text: str, budget: int) -> int:
    """The most steps whose evaluations stay within a budget; 0 where the solver wants more of them."""
    sampler = SAMPLERS.parse(text)
    steps = (budget + 1) // 2 if text.startswith(("heun", "dpm++2s")) else budget  # the last of them evaluates once
    return steps if steps >= getattr(sampler, "min_steps", 1) else 0


def measure(system: System, text: str, steps: int, count: int, read: Convolutions, truth: Tensor) -> dict[str, float]:
    """Draw `count` pictures, classes in turn, and hold them against the truth."""
    classes = len(getattr(system.conditioner, "classes", ())) or 1
    prompts = list(range(classes)) if classes > 1 else None
    began = time.monotonic()
    drawn = system.generate(prompts, seeds=range(count // classes), sampler=text, steps=steps, guidance=1.0).data
    seconds = time.monotonic() - began
    asked = torch.arange(classes).repeat_interleave(count // classes).numpy()
    return {
        "frechet": frechet(read.features(drawn), truth),
        "read as asked": agreement(read, drawn, asked),
        "steps": steps,
        "seconds": round(seconds, 1),
    }


def reader(folder: Path) -> tuple[Convolutions, Tensor]:
    """A classifier fitted on the training pictures, and its features of the test pictures."""
    read = convolutions(*pixels(folder / "train-images-idx3-ubyte.gz"))
    return read, read.features(pixels(folder / "t10k-images-idx3-ubyte.gz")[0])


def pixels(images: Path) -> tuple[Tensor, ClassIds]:
    """The real pictures, in [−1, 1], and their classes."""
    real = prepare(open_source(images))
    assert real.labels is not None
    return torch.from_numpy(real.stored) / 127.5 - 1, real.labels


if __name__ == "__main__":
    main()
