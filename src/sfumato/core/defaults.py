"""Torch's own defaults in the place of the caller's."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import torch

_T = TypeVar("_T")

AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""The kinds of device that a caller may have set autocast for."""


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Torch as it is when it starts, within the block: tensors that name no type or device are float32 and on the CPU,
    and neither autocast nor inference mode is on. The caller's settings hold again after it."""
    with ExitStack() as stack:
        for kind in AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.is_inference_mode_enabled():
            following = torch.is_grad_enabled()
            stack.enter_context(torch.inference_mode(False))  # switches gradients on
            stack.enter_context(torch.set_grad_enabled(following))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if (kind := torch.get_default_dtype()) != torch.float32:
            stack.callback(torch.set_default_dtype, kind)
            torch.set_default_dtype(torch.float32)
        yield


def by_defaults(items: Generator[_T, None, None]) -> Iterator[_T]:
    """The items, each made under `torch_defaults`; between them, the caller's settings hold."""
    try:
        while True:
            with torch_defaults():
                item = next(items, None)
            if item is None:
                return
            yield item
    finally:
        items.close()
