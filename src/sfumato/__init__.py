"""Sfumato: train, sample, guide and measure diffusion models.

The public names load on first use, so that `import sfumato` costs nothing.
"""

from importlib import import_module

TYPE_CHECKING = False  # as in typing, whose import would be half the cost of this one
if TYPE_CHECKING:
    from sfumato.library import load as load
    from sfumato.system import Cascade as Cascade
    from sfumato.system import System as System
    from sfumato.system.samples import Samples as Samples
    from sfumato.train import train as train

    __version__: str

_HOME = {
    "load": "sfumato.library",
    "Cascade": "sfumato.system",
    "System": "sfumato.system",
    "Samples": "sfumato.system.samples",
    "train": "sfumato.train",
}

__all__ = ["Cascade", "Samples", "System", "load", "train"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("sfumato")
    if name not in _HOME:
        raise AttributeError(f"module 'sfumato' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    return globals().setdefault(name, value)  # `train` is a package by now, which is called as the function


def __dir__() -> list[str]:
    return sorted(__all__)
