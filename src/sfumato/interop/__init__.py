"""Checkpoints of other tools, read and written."""

__all__: list[str] = []
