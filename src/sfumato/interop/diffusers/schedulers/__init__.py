"""Schedulers of diffusers: a schedule, a prediction, a sampler and its spacing, read and written."""

__all__: list[str] = []
