"""The system that ships: whole, within its bounds, and drawing what is asked."""

import re

import pytest
import torch
from torch import Tensor

import sfumato
from sfumato.library import find_system
from sfumato.nn.image.sprites import Sprites
from sfumato.system import Cascade, Ground
from sfumato.system.cascade import saved_stages

FOLDER = find_system("emoji")


@pytest.fixture(scope="module")
def emoji() -> Cascade:
    found = sfumato.load("emoji", "cpu", "float32")
    assert isinstance(found, Cascade)
    return found


def test_it_is_small_enough_to_travel_with_the_code() -> None:
    shards = list(FOLDER.rglob("*.safetensors"))
    assert shards and max(path.stat().st_size for path in shards) <= 16 * 2**20
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 60e6


def test_nothing_lies_beside_it_that_is_not_its_own() -> None:
    own = {"cascade.json", "README.md", *(stage.name for stage in saved_stages(FOLDER)[1])}
    assert {path.name for path in FOLDER.iterdir()} == own


def test_it_is_a_layout_and_then_a_picture(emoji: Cascade) -> None:
    assert emoji.links == (Ground(),)
    assert [stage.settings.size for stage in emoji.stages] == [(6,), (128, 128)]


def test_its_settings_are_the_layouts_and_its_size_the_pictures(emoji: Cascade) -> None:
    drawn = emoji.generate("a cat", seeds=[0], steps=4, guidance=2.0, size=(96, 96))
    layout, picture = drawn.records[0]["stages"]
    assert (layout["steps"], layout["guidance"], picture["size"]) == (4, 2.0, [96, 96])


def test_a_thing_that_fills_a_picture_is_its_sprite(emoji: Cascade) -> None:
    """A canvas of a layout with one thing at full size, before white, is the sprite over white."""
    sprites = emoji.stages[1].network
    assert isinstance(sprites, Sprites)
    memory, layout = sprites.memory, torch.zeros(1, 2, sprites.context)
    layout[0, 1, :384] = memory.keys[7]
    layout[0, 1, 384], layout[0, 1, 389] = -1, 1  # no colour asked for; as wide as the picture
    layout[0, 0, 387:], layout[0, 0, 387 + 2] = -1, 1  # white, in the third style
    layout[0, 0, 392] = 1
    page = sprites(torch.zeros(1, 3, 128, 128), torch.ones(1), context=layout)
    own = memory(memory.keys[7][None], torch.tensor([2]))
    assert torch.allclose((page + 1) / 2, own[:, :3] + 1 - own[:, 3:], atol=1e-5)


def test_its_table_spells_every_setting(emoji: Cascade) -> None:
    """One that was added since would change the fingerprint of the system and not that of its folder."""
    assert saved_stages(FOLDER)[0] == emoji.fingerprint()


def test_its_card_says_what_it_is_made_of_and_what_it_can() -> None:
    card = (FOLDER / "README.md").read_text("utf-8")
    for text in ("MIT", "Apache-2.0", "Unicode", "## How it was made", "## What it cannot", "held-out pairs"):
        assert text in card, text
    assert {*re.findall(r"System `([0-9a-f]+)`", card)} == {saved_stages(FOLDER)[0]}, "the figures are of these weights"
    for name in ("model_card", "start", "composition", "text_to_image"):
        report = card.partition(f"<!-- the rest is written by benchmarks/{name}.py -->")[2].partition("\n#")[0]
        assert "| ---" in report, f"the table of {name} is missing"


def test_it_draws_the_colour_and_the_style_it_is_asked_for(emoji: Cascade) -> None:
    def drawn(*prompts: str) -> Tensor:
        """The mean colour of what is not white, a row a prompt."""
        asked = [prompt.replace("heart", "heart on a white background") for prompt in prompts]
        pictures = emoji.generate(asked, seeds=range(2), steps=6).data.unflatten(0, (len(prompts), 2))
        there = (pictures.amin(2, keepdim=True) < 0.5).float()
        return (pictures * there).sum((1, 3, 4)) / there.sum((1, 3, 4))

    colours = drawn("a red heart, flat style", "a green heart, flat style", "a blue heart, flat style")
    assert colours.argmax(1).tolist() == [0, 1, 2]
    assert (colours.amax(1) > colours.median(1).values + 0.1).all()  # the blue of flat emoji is #00A6ED, half green
    (grey,) = drawn("a red heart, black and white")
    assert grey.max() - grey.min() < 0.1


def test_it_draws_two_things_where_they_are_asked_for(emoji: Cascade) -> None:
    drawn = emoji.generate("a red heart left of a blue heart on a white background, flat style", seeds=range(3)).data
    across = torch.linspace(-1, 1, 128)
    red, _, blue = (drawn - drawn.mean(1, keepdim=True)).clamp(0).mean(2).unbind(1)
    centre = [(colour * across).sum(1) / colour.sum(1) for colour in (red, blue)]
    assert (centre[1] - centre[0]).mean() > 0.2
