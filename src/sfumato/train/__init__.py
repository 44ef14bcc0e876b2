"""Training: a recipe and data in, a system out.

The package is also the function: `sfumato.train(data, out=…)` is `sfumato.train.train(data, out=…)`.
"""

import sys
from types import ModuleType
from typing import Any

from sfumato.train.start import train

__all__ = ["train"]


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return train(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
