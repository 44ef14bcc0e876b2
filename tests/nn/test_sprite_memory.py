"""The memory of sprites: what is kept comes back, and what is asked is found."""

import pytest
import torch

from nn.encoded import files
from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.sprite_memory import SpriteMemory

SIDE, VECTOR = 4, 8
NONE = -1


def kept() -> tuple[SpriteMemory, torch.Tensor, torch.Tensor]:
    """A memory of three names in two styles, the last in the second alone; its keys and its sprites in RGBA."""
    sprites = torch.randint(1, 256, (5, 4, SIDE, SIDE), generator=torch.Generator().manual_seed(0)) / 255
    keys = torch.eye(VECTOR)[:3]
    table = torch.tensor([[0, 1], [2, 3], [NONE, 4]], dtype=torch.int32)
    memory = SpriteMemory(VECTOR, 3, 5, 2, *files(sprites).sizes)
    return memory.fit(keys, table, files(sprites).files, torch.full((5, 3), -1.0)), keys, sprites


def test_a_sprite_is_its_colours_times_its_opacity_and_that():
    memory, keys, sprites = kept()
    found = memory(keys[[0, 0, 1, 1]], torch.tensor([0, 1, 0, 1]))
    expected = torch.cat([sprites[:4, :3] * sprites[:4, 3:], sprites[:4, 3:]], 1)
    assert torch.equal(found, expected)


def test_the_nearest_name_is_found_whatever_the_length_of_the_vector():
    memory, keys, _ = kept()
    asked = 7 * keys[1] + keys[0]
    assert memory.find(asked[None], torch.tensor([1])).tolist() == [3]


def test_a_name_without_the_style_is_found_in_another_unless_a_name_near_it_has_it():
    memory, keys, _ = kept()
    only = torch.tensor([0])
    assert memory.find(keys[2][None], only).tolist() == [4]
    between = (keys[2] + 0.95 * keys[0])[None]  # all but as near to the first name, which has the style
    assert memory.find(between, only).tolist() == [0]


def test_a_vector_is_known_if_a_name_is_like_it():
    memory, keys, _ = kept()
    asked = torch.stack([2 * keys[1], keys[0] + 0.9 * keys[2], keys[0] + 1.1 * torch.eye(VECTOR)[7], 0 * keys[0]])
    assert memory.knows(asked).tolist() == [True, True, False, False], "cosines of 1, 0.74, 0.67 and 0"


def test_colors_turn_sprites_of_one_hue_alone():
    red = torch.zeros(1, 4, SIDE, SIDE)
    red[:, 0], red[:, 3] = 1, 1
    memory = SpriteMemory(VECTOR, 1, 1, 1, *files(red).sizes)
    blue, asked = torch.tensor([[240.0, 1.0, 1.0]]), torch.ones(1, VECTOR)
    for hue, expected in ((torch.tensor([[0.0, 1.0, 1.0]]), 2), (torch.full((1, 3), -1.0), 0)):
        memory.fit(asked, torch.zeros(1, 1, dtype=torch.int32), files(red).files, hue)
        found = memory(asked, torch.tensor([0]), blue)[0]
        assert found[:3].mean((1, 2)).argmax() == expected
        assert torch.allclose(memory(asked, torch.tensor([0]), torch.tensor([[-1.0, 0, 0]]))[0], red[0], atol=1e-3)


def test_what_does_not_fit_is_refused():
    memory, keys, sprites = kept()
    with pytest.raises(ShapeError, match=r"vectors \[..., 8\]"):
        memory(keys[:, :3], torch.tensor([0, 1, 0]))
    with pytest.raises(ShapeError, match="at least for each name"):
        memory.fit(keys, torch.full((3, 2), NONE), files(sprites).files, torch.full((5, 3), -1.0))
    with pytest.raises(InputError, match="vector must be"):
        SpriteMemory(0, 1, 1, 1, 1)
