"""Names within which a caption of emoji is not split, "cat with tears of joy" say, as a setting of the recipe `layout`.

    sfumato train layouts.parquet --recipe layout --set "$(python examples/emoji_names.py DATA/train.parquet)"

train.parquet is what emoji_data.py writes, and layouts.parquet what emoji_scenes.py --layouts-only does of it.
"""

import argparse
import json
from pathlib import Path

import pyarrow.parquet as pq

from sfumato.condition.phrases import indivisible


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="train.parquet of emoji_data.py")
    print(setting(options.parse_args().data))


def setting(data: Path) -> str:
    captions = set(pq.read_table(data, columns=["caption"])["caption"].to_pylist())
    return f"condition.conditioner.names={json.dumps(indivisible(captions), ensure_ascii=False)}"


if __name__ == "__main__":
    main()
