"""Two-way maps between the names of our weights and those of other tools.

A map is a list of `Entry`: one weight of ours, the one or several of theirs that hold it, and how to go either way. It
is made from a network's arguments, so the same list reads and writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sfumato.errors import FormatError, InputError, quoted

Read = Callable[[Sequence[Tensor]], Tensor]
Write = Callable[[Tensor], Sequence[Tensor]]


class Entry(NamedTuple):
    """A weight of ours, and those of theirs that it is read from and written to; `before` is what older files call
    them, which are read but not written."""

    ours: str
    theirs: tuple[str, ...]
    read: Read = lambda tensors: tensors[0]
    write: Write = lambda tensor: [tensor]
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
            lambda tensors: torch.cat(list(tensors)),
            lambda tensor: [part.contiguous() for part in tensor.chunk(len(theirs))],
        )

    return [entry(name) for name in ("weight", "bias")[: 1 + bias]]


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
    equal."""
    names = (*entry.theirs, *others)

    def read(tensors: Sequence[Tensor]) -> Tensor:
        for name, tensor in zip(names, tensors, strict=True):
            if not torch.equal(tensor, tensors[0]):
                raise FormatError(
                    f"'{name}' should repeat '{names[0]}', since our network holds one for both; it differs"
                )
        return entry.read(tensors[:1])

    return Entry(entry.ours, names, read, lambda tensor: [one.clone() for one in [*entry.write(tensor)] * len(names)])


def renamed(entries: Iterable[Entry], name: Callable[[str], str]) -> list[Entry]:
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
    """Give `module`, which may be on the meta device, the weights that `theirs` holds, as `dtype` on `device`.

    Tensors are taken from `theirs` one entry at a time, and each is brought to its final form before the next: what is
    in memory is the weights in use. Those of convolutions come first, and lie channels last where they are copied:
    `System` copies the others when it first draws, and what they were mapped from holds nothing else then.

    Raises `FormatError`, speaking of `name`, for keys that are missing, keys that no entry names and that are not
    `ignored`, and shapes that do not fit.
    """
    entries = _found(entries, set(theirs), name, ignored)
    state = dict(module.state_dict(keep_vars=True))
    if astray := sorted(state.keys() ^ {entry.ours for entry in entries}):
        raise InputError(f"the map of names for a {type(module).__name__} is wrong about {some(astray)}")
    filled: dict[str, Tensor] = {}
    for entry in sorted(entries, key=lambda entry: state[entry.ours].ndim != 4):
        try:
            tensor = entry.read([theirs[key] for key in entry.theirs])
        except (RuntimeError, IndexError) as error:
            raise FormatError(f"{name}: '{entry.theirs[0]}' has a shape that cannot be read: {error}") from error
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from error
        expected = state[entry.ours].shape
        if tensor.shape != expected:
            raise FormatError(
                f"{name}: '{entry.theirs[0]}' should give a weight of {list(expected)}, by its configuration, and gives"
                f" {list(tensor.shape)}"
            )
        copied = tensor.dtype != (dtype or tensor.dtype) or tensor.device != (device or tensor.device)
        layout = torch.channels_last if tensor.ndim == 4 and copied else torch.preserve_format
        filled[entry.ours] = tensor.to(device, dtype, memory_format=layout)
    module.load_state_dict(filled, assign=True)


def check(
    module: nn.Module,
    entries: Iterable[Entry],
    theirs: Mapping[str, tuple[str, Sequence[int]]],
    name: str,
    ignored: Callable[[str], bool] = lambda key: False,
) -> None:
    """Whether `fill` would take weights of these names and shapes, whatever their types: raises what it does."""
    state = module.state_dict()
    for entry in _found(entries, set(theirs), name, ignored):
        for key, weight in zip(entry.theirs, entry.write(state[entry.ours]), strict=True):
            if (found := list(theirs[key][1])) != (expected := list(weight.shape)):
                raise FormatError(f"{name}: '{key}' should be {expected}, by its configuration, and is {quoted(found)}")


def _found(entries: Iterable[Entry], present: set[str], name: str, ignored: Callable[[str], bool]) -> list[Entry]:
    """The entries by the names that are `present`, which must be all that are needed and no others."""
    entries = [entry if present.isdisjoint(entry.before) else entry._replace(theirs=entry.before) for entry in entries]
    wanted = {key for entry in entries for key in entry.theirs}
    if absent := sorted(wanted - present):
        raise FormatError(f"{name} is not whole: {some(absent)} missing from its weights")
    if unknown := sorted(key for key in present - wanted if not ignored(key)):
        raise FormatError(f"{name} holds {some(unknown)}, which its configuration does not speak of")
    return entries


def emptied(module: nn.Module, entries: Iterable[Entry]) -> Iterator[tuple[str, Tensor]]:
    """The weights of `module` under their names."""
    state = module.state_dict()
    for entry in entries:
        yield from zip(entry.theirs, entry.write(state[entry.ours]), strict=True)


def some(keys: Sequence[str]) -> str:
    """Names in a few words."""
    more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return ", ".join(map(quoted, keys[:3])) + more
