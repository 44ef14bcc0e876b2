"""Records of other tools in pictures: A1111's and Forge's, ComfyUI's, InvokeAI's and SwarmUI's, read and translated."""

from sfumato.interop.records.read import read_foreign
from sfumato.interop.records.record import ForeignRecord
from sfumato.interop.records.translate import translated

__all__ = ["ForeignRecord", "read_foreign", "translated"]
