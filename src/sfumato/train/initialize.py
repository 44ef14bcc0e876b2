"""Beginning with the weights of another."""

from collections.abc import Mapping

from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.library import find_system, load_codec
from sfumato.system import System
from sfumato.system.cascade import last_stage

StateDict = Mapping[str, Tensor]
"""Those of a network, by their names."""


def network_weights(source: str) -> StateDict:
    """The weights of a system's network, in float32: of the one in that folder, or of that name that ships; of a
    cascade, those of its last stage."""
    return System.load(last_stage(find_system(source)), "cpu", "float32").denoiser.network.state_dict()


def autoencoder_weights(source: str) -> StateDict:
    """The weights of the autoencoder in a codec, as `load_codec` finds it."""
    return load_codec(source).network.state_dict()


def fitting_weights(network: nn.Module, start: StateDict, source: str, key: str) -> StateDict:
    """The weights that fit the network, by name and shape, whatever is wrapped around either. Raises an `InputError`,
    which names the recipe's `key`, where none do."""
    own = network.state_dict()
    places = {_bare(name): name for name in own}
    found = {places[_bare(name)]: value for name, value in start.items() if _bare(name) in places}
    fit = {name: value for name, value in found.items() if own[name].shape == value.shape}
    if not fit:
        raise InputError(
            f"no weight of {source} has a name and a shape of this network's: keep to its shape, or begin with nothing,"
            f" by {key}=null"
        )
    return fit


def _bare(name: str) -> str:
    """A weight's name within the network that `WithLayout` and `WithText` wrap."""
    while name.startswith("network."):
        name = name.removeprefix("network.")
    return name


def initialize(network: nn.Module, start: StateDict, source: str, key: str) -> str:
    """Give the network the weights that fit it; its other weights stay. Returns a line for the user."""
    fit = fitting_weights(network, start, source, key)
    network.load_state_dict(fit, strict=False)
    every = len(network.state_dict())
    lacking = f", but for {every - len(fit)} of {every} tensors, which do not fit" if len(fit) < every else ""
    return f"{key}: beginning with the weights of {source}{lacking}"
