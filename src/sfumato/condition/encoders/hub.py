"""Checkpoints of diffusers on the Hub: found in its cache, or fetched, and no more of them than is read."""

from collections.abc import Collection
from pathlib import Path

from sfumato.store import choose_weight_files

INDEX = "model_index.json"
CARD = "README.md"
"""Which says the licence."""
COMPONENTS = ("unet transformer vae vqvae text_encoder text_encoder_2 tokenizer tokenizer_2 scheduler").split()
"""The components that are read here."""
TABLES = (".json", "merges.txt")


def cached(repository: str, file: str = INDEX) -> Path | None:
    """The folder in the Hub's cache that holds this file of a repository, whatever else of it is there; nothing is
    asked of the Hub."""
    from huggingface_hub import constants

    if not (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir():
        return None  # before a library is imported that takes half a second
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    return Path(found).parent if isinstance(found, str) else None


def fetched(repository: str, components: Collection[str] = COMPONENTS) -> Path:
    """The folder in the Hub's cache, filled with what is read of these components. What the network raises, it
    raises."""
    from huggingface_hub import model_info, snapshot_download

    listed = model_info(repository).siblings or []  # which, unlike a listing, does not try again for half a minute
    wanted = needed([file.rfilename for file in listed], components)
    return Path(snapshot_download(repository, allow_patterns=wanted))


def needed(names: Collection[str], components: Collection[str] = COMPONENTS) -> list[str]:
    """Of a repository's files, those that these components are read from; they may lie in the root."""
    inside: dict[str, list[str]] = {}
    for name in names:
        place, _, base = name.rpartition("/")
        if place in ("", *components):
            inside.setdefault(place, []).append(base)
    wanted: list[str] = []
    for place, bases in inside.items():
        tables = [base for base in bases if base.endswith(TABLES) and ".index" not in base]
        tables += [base for base in bases if base == CARD and not place]
        wanted += [f"{place}/{base}" if place else base for base in (*tables, *choose_weight_files(bases))]
    return sorted(wanted)
