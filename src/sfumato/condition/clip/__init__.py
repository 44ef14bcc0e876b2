"""The text encoders of Stable Diffusion: CLIP's, in the layouts of diffusers and of single files."""

from sfumato.condition.clip.text import ClipText

__all__ = ["ClipText"]
