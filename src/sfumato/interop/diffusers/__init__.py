"""Checkpoints of diffusers, opened and written."""
