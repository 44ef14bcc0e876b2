"""The pictures of the documentation, each drawn by a module of its own, from the package's code, at every build."""

from importlib import import_module
from pathlib import Path

NAMES = (
    "forward",
    "reverse",
    "schedules",
    "objectives",
    "coefficients",
    "variance",
    "orders",
    "paths",
    "spacings",
    "langevin",
    "guidance",
    "bits",
)


def draw_all(folder: Path) -> None:
    """Draw every picture into `folder`, as NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        import_module(f"figures.{name}").draw(folder / f"{name}.svg")
