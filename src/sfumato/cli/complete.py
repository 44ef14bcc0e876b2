"""What the shell completes by the tab key. A completion must be there at once, so nothing here imports torch."""

import os
from importlib.resources import files as resources
from pathlib import Path

_SAMPLERS = (
    *("ddpm", "ddim", "euler", "euler-ancestral", "heun", "dpm++", "dpm++2s", "dpm++pairs", "unipc", "ipndm", "plms"),
    *("lms", "lcm", "langevin", "annealed-langevin", "predictor-corrector", "token-ancestral", "confidence-unmasking"),
)
_SPACINGS = (
    *("uniform", "trailing", "leading", "quadratic", "karras", "logsnr", "ays", "explicit", "discrete", "distilled"),
)


def recipes_that_ship(incomplete: str = "") -> list[str]:
    """Recipes that ship."""
    names = (item.name for item in resources("sfumato.recipes").iterdir())
    return _starting([name.removesuffix(".toml") for name in names if name.endswith(".toml")], incomplete)


def model_names(incomplete: str = "") -> list[str]:
    """Systems that ship, runs, and what is in the Hub's cache; other folders are the shell's to complete."""
    marks, models = ("system.json", "cascade.json"), resources("sfumato.models").iterdir()
    ships = [item.name for item in models if any((item / mark).is_file() for mark in marks)]
    runs = [str(record.parent) for record in Path("runs").glob("*/run.json")]
    return _starting([*ships, *runs, *hub_names()], incomplete)


def sampler_names(incomplete: str = "") -> list[str]:
    return _starting(_SAMPLERS, incomplete)


def spacing_names(incomplete: str = "") -> list[str]:
    return _starting(_SPACINGS, incomplete)


def hub_names() -> list[str]:
    """The repositories in the Hub's cache that hold a checkpoint of diffusers."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    found = {path.parents[2].name for path in cache.glob("models--*/snapshots/*/model_index.json")}
    return sorted(name.removeprefix("models--").replace("--", "/") for name in found)


def _starting(names: "list[str] | tuple[str, ...]", incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
