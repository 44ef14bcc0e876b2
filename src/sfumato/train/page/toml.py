"""Tables as TOML, for people to read and to train by again."""

import json
from collections.abc import Mapping
from typing import Any


def toml(tables: Mapping[str, Any], name: str = "") -> str:
    """Nested tables of JSON's values as TOML. What is None is left out, for TOML has no such value."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, Mapping) and value is not None}
    inner = {key: value for key, value in tables.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    head = [f"[{name}]"] if name and (lines or not inner) else []
    own = ["\n".join([*head, *lines])] if head or lines else []
    return "\n\n".join([*own, *(toml(value, f"{name}.{_key(key)}".lstrip(".")) for key, value in inner.items())])


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        items = [f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
