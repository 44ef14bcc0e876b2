"""Two-way maps between the names of our weights and those of other tools.

A map is a list of `Entry`: one weight of ours, the one or several of theirs that hold it, and how to go either way. It
is made from a network's arguments, so the same list reads and writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sfumato.errors import FormatError, InputError, quoted
from sfumato.files import aligned
from sfumato.wording import brief

_BLOCK = 2**20
"""How many numbers of a weight are converted and laid out at once."""

_REAL = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""Types of real numbers, as safetensors names them, which are one number each."""

_Read = Callable[[Sequence[Tensor]], Tensor]
_Write = Callable[[Tensor], Sequence[Tensor]]


class Entry(NamedTuple):
    """A weight of ours, and those of theirs that it is read from and written to; `before` are their names in older
    files, which are read but not written."""

    ours: str
    theirs: tuple[str, ...]
    read: _Read = lambda tensors: tensors[0]
    write: _Write = lambda tensor: [tensor]
    before: tuple[str, ...] = ()


def same(ours: str, theirs: str) -> Entry:
    """The very same tensor."""
    return Entry(ours, (theirs,))


def layer(ours: str, theirs: str, bias: bool = True) -> list[Entry]:
    """A layer whose `weight` and `bias` are the same."""
    return [same(f"{ours}.{name}", f"{theirs}.{name}") for name in ("weight", "bias")[: 1 + bias]]


def joined(ours: str, theirs: Sequence[str], bias: bool = True) -> list[Entry]:
    """A linear layer of ours that is several of theirs side by side, as keys and values are."""

    def entry(name: str) -> Entry:
        return Entry(
            f"{ours}.{name}",
            tuple(f"{one}.{name}" for one in theirs),
            _side_by_side,
            lambda tensor: [part.contiguous() for part in tensor.chunk(len(theirs))],
        )

    return [entry(name) for name in ("weight", "bias")[: 1 + bias]]


def _side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_meta:
        return torch.cat(list(tensors))
    # torch's own cat of tensors without numbers imports its compiler first, which takes a second
    if len({tensor.shape[1:] for tensor in tensors}) > 1:
        raise RuntimeError(f"{[list(tensor.shape) for tensor in tensors]} do not fit side by side")
    return tensors[0].new_empty((sum(map(len, tensors)), *tensors[0].shape[1:]))


def transposed(ours: str, theirs: str) -> Entry:
    """A matrix and its transpose: a table of vectors is a linear layer of numbers that say which."""
    return Entry(ours, (theirs,), lambda tensors: tensors[0].T.contiguous(), lambda tensor: [tensor.T.contiguous()])


def reshaped(ours: str, theirs: str, shape: Sequence[int], their_shape: Sequence[int]) -> Entry:
    """The same numbers in another shape: a linear layer is a convolution of one place."""
    return Entry(
        ours,
        (theirs,),
        lambda tensors: tensors[0].reshape(tuple(shape)),
        lambda tensor: [tensor.reshape(tuple(their_shape))],
    )


def repeated(entry: Entry, others: Sequence[str]) -> Entry:
    """An entry whose one weight of theirs stands again under other names. Reading raises a `FormatError` unless all are
    equal, as far as there are numbers to compare."""
    names = (*entry.theirs, *others)

    def read(tensors: Sequence[Tensor]) -> Tensor:
        for name, tensor in zip(names, tensors, strict=True):
            if not tensor.is_meta and not torch.equal(tensor, tensors[0]):
                raise FormatError(
                    f"'{name}' should repeat '{names[0]}', since our network holds one for both; it differs"
                )
        return entry.read(tensors[:1])

    return Entry(entry.ours, names, read, lambda tensor: [one.clone() for one in [*entry.write(tensor)] * len(names)])


def renamed_entries(entries: Iterable[Entry], name: Callable[[str], str]) -> list[Entry]:
    """The same entries for files that call a weight `name` of what these call it."""
    return [
        entry._replace(theirs=tuple(map(name, entry.theirs)), before=tuple(map(name, entry.before)))
        for entry in entries
    ]


def fill(
    module: nn.Module,
    entries: Iterable[Entry],
    theirs: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    ignored: Callable[[str], bool] = lambda key: False,
) -> None:
    """Give `module`, which may be on the meta device, the weights of `read_state`: raises what that does."""
    state = read_state(module, entries, theirs, name, dtype, device, ignored)
    module.load_state_dict({key: aligned(value) for key, value in state.items()}, assign=True)


def read_state(
    module: nn.Module,
    entries: Iterable[Entry],
    theirs: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    ignored: Callable[[str], bool] = lambda key: False,
) -> dict[str, Tensor]:
    """The state of `module`, of which nothing but names and shapes counts, from the weights that `theirs` holds, as
    `dtype` on `device`.

    Tensors are taken from `theirs` one entry at a time, and each is brought to its final form before the next: what is
    in memory is the weights in use. Weights that are copied, now or when `System` lays out convolutions at its first
    picture, come first: the files that they were mapped from hold nothing else then, and can be let go.

    Raises `FormatError` about `name` for keys that are missing, keys that no entry names and that are not
    `ignored`, numbers that are not real, and shapes that do not fit.
    """
    entries = _found(entries, set(theirs), name, ignored)
    state = dict(module.state_dict(keep_vars=True))
    if wrong := sorted(state.keys() ^ {entry.ours for entry in entries}):
        raise InputError(f"the map of names for a {type(module).__name__} is wrong about {some(wrong)}")
    ordered = sorted(entries, key=lambda entry: state[entry.ours].ndim != 4 and len(entry.theirs) == 1)
    return {entry.ours: _one(entry, state[entry.ours].shape, theirs, name, dtype, device) for entry in ordered}


def _one(
    entry: Entry,
    expected: torch.Size,
    theirs: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None,
    device: torch.device | None,
) -> Tensor:
    """A weight of ours in its final form: see `read`."""
    given = [theirs[key] for key in entry.theirs]
    if odd := [key for key, tensor in zip(entry.theirs, given, strict=True) if not tensor.is_floating_point()]:
        raise FormatError(
            f"{name}: {some(odd)} should hold real numbers and does not, as where weights were quantised: take the"
            " model in float16, bfloat16 or float32"
        )
    try:
        tensor = entry.read(given)
    except (RuntimeError, IndexError, TypeError) as error:  # the last for a side that is no number of torch's
        raise FormatError(
            f"{name}: '{entry.theirs[0]}' has a shape that cannot be read: {brief(str(error))}"
        ) from error
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    if tensor.shape != expected:
        raise FormatError(
            f"{name}: '{entry.theirs[0]}' should give a weight of {list(expected)}, by its configuration, and gives"
            f" {quoted(list(tensor.shape))}"
        )
    device, dtype = device or tensor.device, dtype or tensor.dtype
    if tensor.ndim != 4 or (tensor.dtype, tensor.device) == (dtype, device):
        return tensor.to(device, dtype)
    final = torch.empty_like(tensor, device=device, dtype=dtype, memory_format=torch.channels_last)
    rows = max(_BLOCK // tensor[0].numel(), 1)
    for part, place in zip(tensor.split(rows), final.split(rows), strict=True):
        place.copy_(part.to(device, dtype))  # type first, then layout, of what fits a cache: both at once take longer
    return final


def check_state(
    module: nn.Module,
    entries: Iterable[Entry],
    theirs: Mapping[str, tuple[str, Sequence[int]]],
    name: str,
    ignored: Callable[[str], bool] = lambda key: False,
) -> None:
    """Whether `fill` would take weights of these names, types and shapes, whatever their numbers: raises what it
    does."""
    read_state(module, entries, _Shapes(theirs), name, ignored=ignored)


class _Shapes(Mapping[str, Tensor]):
    """Tensors of which there is nothing but the shapes, and whether their numbers are real."""

    def __init__(self, shapes: Mapping[str, tuple[str, Sequence[int]]]) -> None:
        self._shapes = shapes

    def __getitem__(self, key: str) -> Tensor:
        kind, shape = self._shapes[key]
        return torch.empty(list(shape), device="meta", dtype=torch.float32 if kind in _REAL else torch.int8)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _found(entries: Iterable[Entry], present: set[str], name: str, ignored: Callable[[str], bool]) -> list[Entry]:
    """The entries by the names that are `present`, which must be all that are needed and no others."""
    entries = [entry if present.isdisjoint(entry.before) else entry._replace(theirs=entry.before) for entry in entries]
    wanted = {key for entry in entries for key in entry.theirs}
    if absent := sorted(wanted - present):
        raise FormatError(f"{name} is not whole: {some(absent)} missing from its weights")
    if unknown := sorted(key for key in present - wanted if not ignored(key)):
        raise FormatError(f"{name} holds {some(unknown)}, which its configuration has no place for")
    return entries


def write_state(module: nn.Module, entries: Iterable[Entry]) -> Iterator[tuple[str, Tensor]]:
    """The weights of `module` under their names."""
    state = module.state_dict()
    for entry in entries:
        yield from zip(entry.theirs, entry.write(state[entry.ours]), strict=True)


def some(keys: Sequence[str]) -> str:
    """Names in a few words."""
    more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return ", ".join(map(quoted, keys[:3])) + more
