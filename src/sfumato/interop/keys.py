"""The maps of `sfumato.keys`, under the name that they had."""

from sfumato.keys import Entry, emptied, fill, joined, layer, repeated, reshaped, same, transposed

__all__ = ["Entry", "emptied", "fill", "joined", "layer", "repeated", "reshaped", "same", "transposed"]
