"""The text encoders of Stable Diffusion: CLIP's, in the layouts of diffusers and of single files."""
