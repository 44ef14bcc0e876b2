"""The recipes that ship: one TOML file a system, each short enough to read."""

__all__: list[str] = []
