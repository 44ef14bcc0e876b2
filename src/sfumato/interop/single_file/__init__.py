"""Single files of Stable Diffusion in the original layout, opened."""
