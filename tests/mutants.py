"""How many small faults in the mathematics the tests see: a sample of mutants, drawn by a seed and run by mutmut.

    python tests/mutants.py --sample 300 --seed 0

mutmut writes what it makes to `mutants/` (its settings are in `pyproject.toml`), so that a run that was stopped goes on
where it was; without that folder all begins anew. A mutant is killed by a test that fails, or that takes more than a
minute of processor time (`cpu_limit.py`). Those that change nothing are listed in `mutants.toml`, each with a reason.
What survives is shown; less than 95 % killed, or one that is undecided, is exit status 1.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MADE = ROOT / "mutants"
MUTMUT = Path(sys.executable).with_name("mutmut")
UNDER = {"PYTHONPATH": str(ROOT / "tests"), "PYTEST_ADDOPTS": "-p cpu_limit", "OMP_NUM_THREADS": "1"}
FEW = "sfumato.train.batches.x_mix*"
"""A function that few tests call, and its mutants."""

WANTED = 0.95
SURVIVED, UNDECIDED, TIMED_OUT = (0, 5, 33), (None, 2, 255), (-24, 24, 36, 152)
"""How a worker ends: all tests passed, or there were none; not yet, stopped, or its tests were not found (255: an id
that collecting again made another); at a limit of time (24 is SIGXCPU)."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sample", type=int, default=300, help="how many mutants; 0 for all")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--processes", type=int, default=1)
    chosen = options.parse_args()

    if not (MADE / "mutmut-stats.json").exists():
        print("making all mutants, and learning which tests call what: as long as the tests take", flush=True)
        run(FEW, processes=chosen.processes)
    every = sorted(results())
    names = random.Random(chosen.seed).sample(every, min(chosen.sample, len(every))) if chosen.sample else every
    codes = results()
    left = [name for name in names if codes[name] in UNDECIDED]
    print(f"{len(names):,} of {len(every):,} mutants drawn by seed {chosen.seed}; to be run: {len(left):,}", flush=True)
    if left:
        run(*left, processes=chosen.processes)
    return report(names, len(every))


def run(*names: str, processes: int) -> None:
    """Run these mutants, after the tests without any; what mutmut shows meanwhile is for a terminal."""
    MADE.mkdir(exist_ok=True)
    with open(MADE / "mutmut.log", "w", encoding="utf-8") as log:
        shown = None if sys.stdout.isatty() else log
        command = [MUTMUT, "run", "--max-children", str(processes), *names]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | UNDER, stdout=shown, stderr=shown, check=False)
    if done.returncode:
        sys.exit(f"mutmut ended with exit status {done.returncode}; what it showed is in {log.name}, or above")


def results() -> dict[str, int | None]:
    """How the worker of each mutant ended, by the name of the mutant."""
    metas = (json.loads(path.read_bytes()) for path in MADE.rglob("*.meta"))
    return {name: code for meta in metas for name, code in meta["exit_code_by_key"].items()}


def report(names: list[str], of: int) -> int:
    known, codes = equivalent(), results()
    decided = [name for name in names if codes[name] not in UNDECIDED]
    diffs = {name: diff(name) for name in decided if codes[name] in SURVIVED}
    alive = [name for name in diffs if change(diffs[name]) not in known]
    for name in alive:
        print(f"{name}\n{diffs[name]}")
    n, idle = len(decided) - len(diffs) + len(alive), len(diffs) - len(alive)
    late, killed = sum(codes[name] in TIMED_OUT for name in decided), n - len(alive)
    print(
        f"{len(decided):,} of {len(names):,} decided, drawn from {of:,}; {idle} of them change nothing (mutants.toml)"
    )
    if n:
        low, high = interval(killed, n)
        print(f"{killed} of {n} killed, {late} of them by the limit of time: {killed / n:.1%}")
        print(f"95 % interval {low:.1%} to {high:.1%}")
    return 0 if len(decided) == len(names) and killed >= WANTED * n else 1


def diff(name: str) -> str:
    return subprocess.run([MUTMUT, "show", name], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def change(diff: str) -> tuple[str, str]:
    """The lines that a mutant takes away and puts in their place."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    taken, put = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return taken, put


def equivalent() -> set[tuple[str, str]]:
    listed = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8"))
    return {(one["line"], mutant) for one in listed["equivalent"] for mutant in one["mutants"]}


def interval(k: int, n: int) -> tuple[float, float]:
    """Wilson's for a share, at 95 %."""
    z = 1.96
    middle, half = k / n + z**2 / (2 * n), z * math.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


if __name__ == "__main__":
    raise SystemExit(main())
