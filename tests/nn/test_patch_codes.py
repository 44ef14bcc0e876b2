"""Pictures in few bytes: what components of eight and of four bits leave."""

import pytest
import torch

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.patch_codes import PatchCodes, packed, unpacked
from sfumato.nn.image.pca import PCA

SIDE, PATCH, CHANNELS = 8, 4, 2
RANK = CHANNELS * PATCH**2


def pictures(count: int = 40, seed: int = 0) -> torch.Tensor:
    """Smooth pictures: their first components vary most."""
    stream = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, CHANNELS, SIDE, SIDE, generator=stream)
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)


def test_all_numbers_of_four_bits_come_back_from_their_bytes():
    codes = torch.arange(-8, 8).view(2, 8, 1, 1)
    halves = packed(codes)
    assert halves.dtype == torch.uint8 and halves.shape == (2, 4, 1, 1)
    assert torch.equal(unpacked(halves), codes.float())


def test_every_component_in_eight_bits_leaves_what_rounding_leaves():
    own = pictures()
    memory = PatchCodes(len(own), 1, CHANNELS, RANK, RANK, PATCH, SIDE).fit(own, torch.zeros(len(own)))
    step = memory.scale.square().sum().sqrt() / 2  # half a step in every component at once: the worst of all roundings
    found = memory(torch.arange(len(own)))
    assert float((found - own).square().flatten(2).sum(-1).max().sqrt()) <= 4 * float(step)
    assert float((found - own).abs().max()) < 0.01


def test_four_bits_for_what_varies_less_beat_as_many_bytes_of_eight_bits_alone():
    own, one = pictures(400), torch.zeros(400)

    def error(rank: int, fine: int) -> float:
        memory = PatchCodes(400, 1, CHANNELS, rank, fine, PATCH, SIDE).fit(own, one)
        assert memory.bytes.nbytes + memory.halves.nbytes == 400 * 4 * 8
        return float((memory(torch.arange(400)) - own).square().mean())

    assert error(12, 4) < 0.9 * error(8, 8)


def test_each_group_has_components_of_its_own():
    own = torch.cat([pictures(40, 0), pictures(40, 1).flip(1) ** 3])
    group = torch.arange(80) // 40
    together = PatchCodes(80, 2, CHANNELS, 6, 6, PATCH, SIDE).fit(own, group)(torch.arange(80))
    for one in (0, 1):
        best = PCA(CHANNELS, 6, PATCH).fit(own[group == one])
        assert float((together[group == one] - best.decode(best.encode(own[group == one]))).detach().abs().max()) < 0.01


def test_a_memory_opened_again_gives_the_same():
    own = pictures()
    memory = PatchCodes(40, 1, CHANNELS, 12, 4, PATCH, SIDE).fit(own, torch.zeros(40))
    other = PatchCodes(40, 1, CHANNELS, 12, 4, PATCH, SIDE)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other(torch.tensor([3, 3, 0])), memory(torch.tensor([3, 3, 0])))


@pytest.mark.parametrize(("rank", "fine"), [(8, 9), (8, -1), (8, 3)])
def test_bits_that_cannot_be_are_refused(rank: int, fine: int):
    with pytest.raises(InputError, match="fine must be from 0 to the rank, and leave an even number"):
        PatchCodes(1, 1, CHANNELS, rank, fine, PATCH, SIDE)


def test_pictures_that_do_not_fit_are_refused():
    memory = PatchCodes(3, 1, CHANNELS, 8, 8, PATCH, SIDE)
    with pytest.raises(ShapeError, match=r"pictures should be \[3, 2, 8, 8\], with a group each, not \[2, 2, 8, 8\]"):
        memory.fit(pictures(2), torch.zeros(2))
