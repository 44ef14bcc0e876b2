"""Packages that are installed on request, as `pip install sfumato[audio]`."""

from importlib import import_module
from typing import Any

from sfumato.errors import InputError


def import_extra(package: str, extra: str, where: str) -> Any:
    """The package that reads `where`. Raises an `InputError` that says how to install it, if it is absent."""
    try:
        return import_module(package)
    except (ImportError, OSError) as error:  # OSError: a package without the library that it wraps
        raise InputError(
            f"{where}: expected {package}, which is not installed: pip install sfumato[{extra}]"
        ) from error
