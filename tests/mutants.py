"""How many small faults in the mathematics the tests see: a sample of mutants, drawn by a seed and run by mutmut.

    python tests/mutants.py --sample 300 --seed 0

mutmut writes what it makes to `mutants/` (its settings are in `pyproject.toml`), so that a run that was stopped goes on
where it was. A mutant is killed by a test that fails, or that no longer ends. Those that change nothing are listed in
`mutants.toml`, each with a reason. What survives is shown; less than 95 % killed is exit status 1.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUTMUT = Path(sys.executable).with_name("mutmut")
WANTED = 0.95
SURVIVED, UNRUN = (0, 5, 33), (None,)
"""How a worker ends: all tests passed, or there were none; or not yet."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sample", type=int, default=300, help="how many mutants; 0 for all")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--processes", type=int, default=1)
    chosen = options.parse_args()

    if not (ROOT / "mutants").exists():
        run("sfumato.core.level*", chosen.processes)  # makes all mutants, and learns which tests call what
    every = sorted(results())
    names = random.Random(chosen.seed).sample(every, min(chosen.sample, len(every))) if chosen.sample else every
    codes = results()
    if left := [name for name in names if codes[name] in UNRUN]:
        run(*left, processes=chosen.processes)
    return report(names, len(every))


def run(*names: str, processes: int = 1) -> None:
    subprocess.run([MUTMUT, "run", "--max-children", str(processes), *names], cwd=ROOT, check=False)


def results() -> dict[str, int | None]:
    """How the worker of each mutant ended, by the name of the mutant."""
    metas = (json.loads(path.read_bytes()) for path in (ROOT / "mutants").rglob("*.meta"))
    return {name: code for meta in metas for name, code in meta["exit_code_by_key"].items()}


def report(names: list[str], of: int) -> int:
    known, codes = equivalent(), results()
    alive = [name for name in names if codes[name] in SURVIVED]
    diffs = {name: diff(name) for name in alive}
    idle = [name for name in alive if change(diffs[name]) in known]
    for name in alive:
        if name not in idle:
            print(f"{name}\n{diffs[name]}")
    n = len(names) - len(idle) - sum(codes[name] in UNRUN for name in names)
    killed = n - (len(alive) - len(idle))
    low, high = interval(killed, n)
    print(
        f"{killed} of {n} killed: {killed / n:.1%} (95 % interval {low:.1%} to {high:.1%}); {len(idle)} more are"
        f" equivalent; drawn from {of:,}"
    )
    return 0 if killed >= WANTED * n else 1


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
