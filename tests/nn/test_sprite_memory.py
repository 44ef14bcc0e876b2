"""The memory of sprites: what is kept comes back, and what is asked is found."""

import pytest
import torch

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.pca import PCA
from sfumato.nn.image.sprite_memory import SpriteMemory

SIDE, PATCH, VECTOR = 4, 2, 8
NONE = -1


def kept(rank: int = 16) -> tuple[SpriteMemory, torch.Tensor, torch.Tensor]:
    """A memory of three names in two styles, the last in the second alone; its keys and sprites."""
    stream = torch.Generator().manual_seed(0)
    alpha = torch.rand(5, 1, SIDE, SIDE, generator=stream)
    sprites = torch.cat([alpha * torch.rand(5, 3, SIDE, SIDE, generator=stream), alpha], 1)
    keys = torch.eye(VECTOR)[:3]
    table = torch.tensor([[0, 1], [2, 3], [NONE, 4]], dtype=torch.int32)
    memory = SpriteMemory(VECTOR, 3, 5, 2, rank, rank, PATCH, SIDE).fit(keys, table, sprites, torch.full((5, 3), -1.0))
    return memory, keys, sprites


def test_with_every_component_sprites_come_back_to_eight_bits():
    memory, keys, sprites = kept()
    found = memory(keys[[0, 0, 1, 1]], torch.tensor([0, 1, 0, 1]))
    assert float((found - sprites[:4]).abs().max()) < 0.02  # all components, each rounded to 1/127 of its largest


def test_fewer_components_leave_what_principal_components_of_the_style_leave():
    memory, keys, sprites = kept(rank=3)
    style = [0, 1, 0, 1, 1]
    for place, number in ((0, 0), (1, 3)):  # the style asked for, and the sprite that is found
        own = sprites[[one == place for one in style]]
        best = PCA(4, 3, PATCH).fit(own)
        best = best.decode(best.encode(sprites[number][None]))
        alpha = best[:, 3:].clamp(0, 1)
        best = torch.cat([torch.minimum(best[:, :3].clamp_min(0), alpha), alpha], 1)
        found = memory(keys[0 if number == 0 else 1][None], torch.tensor([place]))
        assert float((found - best).detach().abs().max()) < 0.02


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
    memory = SpriteMemory(VECTOR, 1, 1, 1, 4, 4, PATCH, SIDE)
    blue, asked = torch.tensor([[240.0, 1.0, 1.0]]), torch.ones(1, VECTOR)
    for hue, expected in ((torch.tensor([[0.0, 1.0, 1.0]]), 2), (torch.full((1, 3), -1.0), 0)):
        memory.fit(asked, torch.zeros(1, 1, dtype=torch.int32), red, hue)
        found = memory(asked, torch.tensor([0]), blue)[0]
        assert found[:3].mean((1, 2)).argmax() == expected
        assert torch.allclose(memory(asked, torch.tensor([0]), torch.tensor([[-1.0, 0, 0]]))[0], red[0], atol=1e-3)


def test_what_does_not_fit_is_refused():
    memory, keys, sprites = kept()
    with pytest.raises(ShapeError, match=r"vectors \[..., 8\]"):
        memory(keys[:, :3], torch.tensor([0, 1, 0]))
    with pytest.raises(ShapeError, match="at least for each name"):
        memory.fit(keys, torch.full((3, 2), NONE), sprites, torch.full((5, 3), -1.0))
    with pytest.raises(InputError, match="vector must be"):
        SpriteMemory(0, 1, 1, 1)
