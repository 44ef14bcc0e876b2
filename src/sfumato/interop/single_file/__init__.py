"""Single files of Stable Diffusion in the original layout, opened."""

__all__: list[str] = []
