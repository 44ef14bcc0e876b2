"""The system of one thing a picture, which trainings begin with: whole, small, and drawing what is asked."""

import re

import pytest
import torch
from torch import Tensor

import sfumato
from sfumato.evaluate.quality import psnr
from sfumato.library import find_system, load_codec
from sfumato.system import System
from sfumato.system.cascade import saved_stages

FOLDER = find_system("emoji-single")


@pytest.fixture(scope="module")
def single() -> System:
    found = sfumato.load("emoji-single", "cpu", "float32")
    assert isinstance(found, System)
    return found


def test_it_is_small_enough_to_travel_with_the_code() -> None:
    shards = list(FOLDER.glob("*.safetensors"))
    assert shards and max(path.stat().st_size for path in shards) <= 16 * 2**20
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 40e6


def test_its_codec_is_found_by_its_name_and_draws_a_picture_again() -> None:
    """A square of red on white, as flat as its emoji are."""
    codec = load_codec("emoji-single")
    picture = torch.ones(1, 3, 128, 128)
    picture[:, 1:, 32:96, 32:96] = -1
    assert float(psnr(picture, codec.decode(codec.encode(picture)))) > 24
    assert (load_codec(FOLDER).encode(picture) == codec.encode(picture)).all()


def test_its_table_spells_every_setting(single: System) -> None:
    """One that was added since would change the fingerprint of the system and not that of its folder."""
    assert saved_stages(FOLDER)[0] == single.fingerprint()


def test_its_card_says_what_it_is_made_of_and_what_it_can() -> None:
    card = (FOLDER / "README.md").read_text("utf-8")
    for text in ("MIT", "Apache-2.0", "Unicode", "## How it was made", "## What it cannot", "held-out pairs"):
        assert text in card, text
    system = sfumato.load("emoji-single", "cpu")
    assert re.search(r"System `([0-9a-f]+)`", card)[1] == system.fingerprint(), "the figures are of these weights"  # pyright: ignore


def test_it_draws_the_colour_and_the_style_it_is_asked_for(single: System) -> None:
    def drawn(*prompts: str) -> Tensor:
        pictures = single.generate(list(prompts), seeds=range(2), steps=6).data
        return pictures.unflatten(0, (len(prompts), 2)).mean((1, 3, 4))

    red, green, blue = drawn("a red heart, flat style", "a green heart, flat style", "a blue heart, flat style")
    assert red[0] > green[0] + 0.2 and red[0] > blue[0] + 0.2
    assert green[1] > red[1] + 0.1 and blue[2] > red[2] + 0.2
    (grey,) = drawn("a red heart, black and white")
    assert grey.max() - grey.min() < 0.1
