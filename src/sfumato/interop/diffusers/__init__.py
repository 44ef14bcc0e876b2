"""Checkpoints of diffusers, opened and written."""

__all__: list[str] = []
