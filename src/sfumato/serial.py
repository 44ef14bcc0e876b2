"""Tensors as a safetensors file, piece by piece: the same tensors and metadata are always the same bytes.

These are the bytes of the library safetensors, but for the order of metadata, which it leaves to chance. It writes to
a file of its own beside the one asked for, which stays for good, and is known to nobody, where the process is killed.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TYPES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Kinds of numbers, by torch's name and by the format's, in the order in which tensors lie in a file."""
_PLACES = {kind: place for place, kind in enumerate(TYPES)}


def pieces(tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None = None) -> Iterator[Any]:
    """The bytes of a file of these tensors, contiguous ones on the CPU: its header, then the numbers of each tensor.

    Source: https://github.com/huggingface/safetensors#format. Raises `InputError` for a kind of numbers that the
    format has no name for.
    """
    import torch

    for name, tensor in tensors.items():
        if _kind(tensor) not in TYPES:
            raise InputError(f"a safetensors file holds no numbers of the kind {_kind(tensor)}, as {name} has")
    names = sorted(tensors, key=lambda name: (_PLACES[_kind(tensors[name])], name))
    yield _header({name: tensors[name] for name in names}, metadata)
    for name in names:
        yield tensors[name].flatten().view(torch.uint8).numpy().data


def _header(tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None) -> bytes:
    """What lies where, as JSON, with spaces up to a multiple of eight bytes, after its length."""
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in tensors.items():
        place = [end, end := end + tensor.nbytes]
        entries[name] = {"dtype": TYPES[_kind(tensor)], "shape": list(tensor.shape), "data_offsets": place}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return struct.pack("<Q", -(-len(text) // 8) * 8) + text + b" " * (-len(text) % 8)


def _kind(tensor: "Tensor") -> str:
    return str(tensor.dtype).removeprefix("torch.")
