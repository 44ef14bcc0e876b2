"""How far several trainings are after equal times: the loss, from the `log.jsonl` of each run.

    python benchmarks/curves.py NAME=RUN ... [--minutes 2 4 8] [--markdown FILE]

A loss is the mean over the last quarter of the time before, each step counted once: single steps vary too much to
compare. Runs compare if their data, loss, times and batch are the same and each had as much of the machine. Time is
counted from the first step of the denoiser, so a layout that is fitted before it is not in it.
"""

import argparse
import json
import sys
from pathlib import Path

from sfumato.files import write_bytes

MARK = "<!-- the rest is written by benchmarks/curves.py -->"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs", nargs="+", metavar="NAME=RUN", help="what to call a run, and its folder")
    options.add_argument("--minutes", type=float, nargs="+", default=[2, 4, 8], help="the times to compare at")
    options.add_argument("--markdown", type=Path, help=f"also write the table to this file, after its line {MARK}")
    given = options.parse_args()
    rows = [["network", *(f"loss after {minutes:g} min" for minutes in given.minutes), "pictures a second"]]
    for run in given.runs:
        name, sign, folder = run.partition("=")
        if not sign:
            sys.exit(f"error: '{run}' should read NAME=RUN")
        log = read(Path(folder) / "log.jsonl")
        losses = [f"{loss(log, 60 * minutes):.4f}" for minutes in given.minutes]
        rows.append([name, *losses, f"{sorted(rate for _, _, _, rate in log)[len(log) // 2]:.1f}"])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    report = "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
    print(report)
    if given.markdown:
        prose = given.markdown.read_text("utf-8").partition(MARK)[0] if given.markdown.exists() else ""
        write_bytes(given.markdown, f"{prose}{MARK}\n\n{report}\n".encode())


def read(path: Path) -> list[tuple[float, int, float, float]]:
    """Seconds, steps that a line stands for, their mean loss, and pictures a second; of the first sitting alone."""
    if not path.is_file():
        sys.exit(f"error: there is no {path}: give the folder of a run")
    found: list[tuple[float, int, float, float]] = []
    before = 0
    for line in path.read_text("utf-8").splitlines():
        record = json.loads(line)
        if found and record["seconds"] < found[-1][0]:
            break
        found.append((record["seconds"], record["step"] - before, record["loss"], record["pictures_a_second"]))
        before = record["step"]
    return found


def loss(log: list[tuple[float, int, float, float]], end: float) -> float:
    """The mean loss of the steps made between 3/4·end and end, in seconds."""
    if not log or log[-1][0] < 0.95 * end:
        sys.exit(f"error: a run ends after {log[-1][0] if log else 0:.0f} s, and {end:.0f} s are compared")
    some = [(steps, mean) for seconds, steps, mean, _ in log if 0.75 * end < seconds <= end]
    if not some:
        sys.exit(f"error: a run made no step between {0.75 * end:.0f} s and {end:.0f} s")
    return sum(steps * mean for steps, mean in some) / sum(steps for steps, _ in some)


if __name__ == "__main__":
    main()
