"""Records that a file must carry whole, whatever its medium."""

from typing import Any

RECORDS: list[dict[str, Any]] = [
    {},
    {"prompt": "a cat", "seed": 2**63 - 1, "size": [64, 64], "interval": None, "on": True, "scale": 0.1},
    {"prompt": 'quotes " and \\ and \n lines \t and \0 and \x1b'},
    {"prompt": "Grüße, 猫, עברית, 👩‍👩‍👧 \U0010ffff \u200f\u2028 e\u0301"},
    {"キー": {"ü": ["sfumato {", "SFUMATO=", "]]>"]}},
    {"prompt": "long " * 20_000},
]
