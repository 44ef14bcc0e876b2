"""Weights written as diffusers and transformers read them: one file, or several and an index."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import nn

from sfumato import files
from sfumato.keys import Entry, write_state

PT_METADATA = {"format": "pt"}
"""What their readers look for in the header of a file."""


def write_weights(
    folder: Path, stem: str, module: nn.Module, entries: Iterable[Entry], dtype: torch.dtype, most: int
) -> None:
    """Write the weights of `module` by their names there, as `dtype`, in files of at most `most` bytes, or of the
    tensors of a single weight of ours that is larger. No more than one file's tensors are made at a time."""
    groups = list(_groups(module, entries, dtype, most))
    places: dict[str, str] = {}
    size = 0
    for nth, group in enumerate(groups, start=1):
        name = f"{stem}.safetensors" if len(groups) == 1 else f"{stem}-{nth:05}-of-{len(groups):05}.safetensors"
        tensors = {key: tensor.to(dtype) for key, tensor in write_state(module, group)}
        files.write_tensors(folder / name, tensors, plain=PT_METADATA)
        places |= dict.fromkeys(tensors, name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if len(groups) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
        files.write_json(folder / f"{stem}.safetensors.index.json", index)


def _groups(module: nn.Module, entries: Iterable[Entry], dtype: torch.dtype, most: int) -> Iterator[list[Entry]]:
    """The entries in groups whose tensors have at most so many bytes, in their order."""
    state = module.state_dict()
    group: list[Entry] = []
    held = 0
    for entry in entries:
        shape = state[entry.ours].to("meta", dtype)
        size = sum(tensor.nbytes for tensor in entry.write(shape))
        if group and held + size > most:
            yield group
            group, held = [], 0
        group.append(entry)
        held += size
    yield group
