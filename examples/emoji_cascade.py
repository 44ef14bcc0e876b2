"""The system `emoji` put together: layout, then sprites.

    python examples/emoji_cascade.py --layout RUN/layout --sprites RUN/sprites --out emoji

The first is a run of the recipe `layout`, the second is what emoji_sprites.py writes.
The folder gets a cascade in bfloat16, in files of at most 16 MB.
"""

import argparse
from pathlib import Path

from sfumato import Cascade, System
from sfumato.library import load
from sfumato.system.links import Ground

SHARD = 16 * 10**6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("layout", "sprites", "out"):
        options.add_argument(f"--{name}", type=Path, required=True)
    given = options.parse_args()
    stages = [_stage(path) for path in (given.layout, given.sprites)]
    print(Cascade(stages, [Ground()]).save(given.out, SHARD))


def _stage(path: Path) -> System:
    found = load(path, "cpu", "bfloat16")
    assert isinstance(found, System)
    return found


if __name__ == "__main__":
    main()
