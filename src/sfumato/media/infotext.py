"""A record as the text `parameters` of Stable Diffusion web UI (AUTOMATIC1111), which galleries and many tools read:

a cat
Negative prompt: blurred
Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, …
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.media.protocol import Record
from sfumato.wording import well_formed


def infotext(record: Record) -> str:
    """The text of a record; "" if it has nothing that the text could say. Of several stages it says what the first drew
    with, and the size of the last."""
    stages = record.get("stages")
    stages = [one for one in stages if isinstance(one, Mapping)] if isinstance(stages, list) else []
    first = {**(stages[0] if stages else {}), **record}
    size = (stages[-1] if stages else record).get("size")
    prompt, negative = (str(first[key]) if first.get(key) is not None else "" for key in ("prompt", "negative"))
    lines = [prompt, f"Negative prompt: {negative}" if negative else "", ", ".join(_settings(first, size))]
    return well_formed("\n".join(filter(None, lines)).strip())


def _settings(record: Mapping[str, Any], size: Any) -> Iterator[str]:
    """The settings of the last line, in the order of that tool."""
    values = {
        "Steps": record.get("steps"),
        "CFG scale": record.get("guidance"),
        "Seed": record.get("seed"),
        "Size": "x".join(map(str, size)) if isinstance(size, list) and len(size) == 2 else None,
        "Model hash": record.get("system"),
        "Model": record.get("model"),
        "Version": f"Sfumato {record['sfumato']}" if record.get("sfumato") is not None else None,
    }
    return (f"{name}: {_quoted(value)}" for name, value in values.items() if value is not None)


def _quoted(value: Any) -> str:
    """A value of the last line: JSON, where it holds what would end it."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:\n"') else text
