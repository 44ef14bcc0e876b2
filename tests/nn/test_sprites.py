"""Sprites on a canvas: where they are to the pixel, what is in front of what, and what is behind them all."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from nn.encoded import files
from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.sprites import Sprites, background, composed, placed

STYLES, SIDE, SIZE = 2, 4, 8
RED, GREEN, BLUE = (torch.eye(3)[i] for i in range(3))
PLAIN = (1.0, *[-1.0] * 6)
"""A white ground."""


class Plain(nn.Module):
    """In the place of a memory: sprites of one colour, the phrase's three numbers, with a fourth for their opacity."""

    def forward(self, vector: Tensor, style: Tensor, color: Tensor) -> Tensor:
        return torch.cat([vector[..., :3] * vector[..., 3:], vector[..., 3:]], -1)[..., None, None].expand(
            *vector.shape, SIDE, SIDE
        )


def plain() -> Sprites:
    own = Sprites(names=1, sprites=1, file_bytes=0, phrase=4, styles=STYLES, side=SIDE)
    own.memory = Plain()  # pyright: ignore[reportAttributeAccessIssue]
    return own


def layout(*things: tuple[Tensor, float, float, float, float], ground: tuple[float, ...] = PLAIN) -> Tensor:
    """The context of one canvas: of each thing its colour, x, y, the side as a fraction, and depth."""
    places = [torch.tensor([0.0] * 7 + [1.0, -1.0, *ground])]
    for colour, x, y, side, depth in things:
        own = torch.tensor([x, y, 2 * side - 1, depth, *[0.0] * (STYLES + 3)])
        places.append(torch.cat([colour, torch.ones(4 - len(colour)), torch.tensor([-1.0, 0, 0]), own]))
    return torch.stack(places)[None]


def canvas(context: Tensor, network: Sprites | None = None, size: int = SIZE, **given: Any) -> Tensor:
    """What is drawn, from 0 to 1."""
    network = network or plain()
    blank = torch.zeros(len(context), 3, size, size)
    return (network(blank, torch.ones(len(context)), context=context, **given) + 1) / 2


def painted(*squares: tuple[Tensor, slice, slice], size: int = SIZE) -> Tensor:
    """Squares of one colour on white, the last on top."""
    page = torch.ones(1, 3, size, size)
    for colour, rows, columns in squares:
        page[:, :, rows, columns] = colour[:, None, None]
    return page


@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.parametrize(
    ("x", "y", "extent", "rows", "columns"),
    [
        (0, 0, 1, slice(0, 8), slice(0, 8)),
        (0, 0, 0.5, slice(2, 6), slice(2, 6)),
        (0.5, -0.25, 0.25, slice(2, 4), slice(5, 7)),
        (-1, 1, 0.5, slice(6, 8), slice(0, 2)),
        (-0.875, -0.875, 0, slice(0, 1), slice(0, 1)),
    ],
    ids=["whole", "half", "quarter", "cut off", "a pixel at least"],
)
def test_an_opaque_sprite_covers_its_pixels(
    side: int, x: float, y: float, extent: float, rows: slice, columns: slice
) -> None:
    sprite = torch.ones(1, 4, side, side)
    found = placed(sprite, *(torch.tensor([one]) for one in (x, y, 2 * extent - 1)), size=SIZE)[0, 3]
    wanted = torch.zeros(SIZE, SIZE)
    wanted[rows, columns] = 1
    assert (found - wanted).abs().max() < 1e-6


def test_a_part_of_a_pixel_counts_by_its_area() -> None:
    found = placed(torch.ones(1, 1, 4, 4), torch.tensor([0.125]), torch.tensor([0.0]), torch.tensor([0.0]), 8)[0, 0]
    wanted = torch.tensor([0.0, 0, 0.5, 1, 1, 1, 0.5, 0])
    assert torch.allclose(found[3], wanted) and torch.allclose(found.sum(0), 4 * wanted)


def test_a_shrunken_sprite_is_the_mean_of_its_pixels() -> None:
    sprite = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(3)
    means = sprite.unflatten(-1, (4, 2)).unflatten(-3, (4, 2)).mean((-1, -3))
    assert torch.allclose(placed(sprite, zero, zero, zero, 8)[..., 2:6, 2:6], means)
    assert torch.allclose(placed(sprite, zero, zero, zero + 1, 8), sprite, atol=1e-6), "and one of its size is itself"


def test_an_enlarged_sprite_is_interpolated() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    zero = torch.zeros(1)
    found = placed(ramp, zero, zero, zero + 1, 8)[0, 0, 4]
    assert torch.allclose(found[1:7], torch.tensor([0.25, 0.75, 1.25, 1.75, 2.25, 2.75]))


def test_the_nearer_thing_hides_the_other_whichever_is_mentioned_first() -> None:
    behind, front = (slice(2, 6), slice(2, 6)), (slice(0, 4), slice(0, 4))
    red, blue = (RED, 0.0, 0.0, 0.5, -0.5), (BLUE, -0.5, -0.5, 0.5, 0.5)
    wanted = painted((RED, *behind), (BLUE, *front))
    for things in ((red, blue), (blue, red)):
        assert torch.allclose(canvas(layout(*things)), wanted)
    level = [(*thing[:4], 0.0) for thing in (red, blue)]
    assert torch.allclose(canvas(layout(*level)), wanted), "of one depth, the later is in front"
    assert torch.allclose(canvas(layout(*level[::-1])), painted((BLUE, *front), (RED, *behind)))


def test_what_is_half_opaque_is_mixed_with_what_is_behind() -> None:
    half = torch.tensor([1.0, 0, 0, 0.5])
    found = canvas(layout((GREEN, 0, 0, 1, -1), (half, 0, 0, 0.5, 1)))[0, :, 4, 4]
    assert torch.allclose(found, torch.tensor([0.5, 0.5, 0]))


def test_the_ground_is_white_or_runs_from_one_colour_to_another() -> None:
    ground = torch.tensor([[1.0, -1, -1, -1, -1, -1, -1], [-1, -1, 0, 1, 1, 0, -3]])
    white, found = background(ground, 4)
    assert torch.equal(white, torch.ones(3, 4, 4))
    shares = torch.tensor([0.125, 0.375, 0.625, 0.875])
    assert torch.allclose(found[0], shares[:, None].expand(4, 4)) and torch.equal(found[1], torch.full((4, 4), 0.5))
    assert torch.allclose(found[2, :, 0], (1 - 2 * shares).clamp(min=0)), "and it is no colour beyond black"


def test_a_place_that_is_masked_draws_nothing() -> None:
    context = layout((RED, 0, 0, 0.5, 0), (BLUE, 0, 0, 1, 1))
    drawn = canvas(context, mask=torch.tensor([[True, True, False]]))
    assert torch.allclose(drawn, painted((RED, slice(2, 6), slice(2, 6))))
    assert torch.equal(canvas(context, mask=torch.tensor([[True, False, False]])), torch.ones(1, 3, SIZE, SIZE))
    assert torch.equal(canvas(context[:, :1]), torch.ones(1, 3, SIZE, SIZE)), "nor is there need of any"


# The network ----------------------------------------------------------------------------------------------------------


def network() -> Sprites:
    """Three names in two styles: red, and two of noise; the noise has no hue to be turned from."""
    sprites = torch.rand(6, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    sprites[0] = torch.tensor([1.0, 0, 0, 1])[:, None, None]
    kept = files(sprites)
    own = Sprites(3, 6, kept.sizes[0], phrase=6, styles=STYLES, side=SIDE)
    hues = torch.cat([torch.tensor([[0.0, 1, 1]]), torch.full((5, 3), -1.0)])
    own.memory.fit(torch.eye(6)[:3], torch.arange(6).view(3, 2), kept.files, hues)
    return own


def contexts(count: int = 3, places: int = 4) -> Tensor:
    return torch.randn(count, places, 6 + 3 + STYLES + 7, generator=torch.Generator().manual_seed(1))


def test_a_thing_is_drawn_in_the_style_of_the_ground_and_in_the_colour_asked_for() -> None:
    own = network()
    context = torch.zeros(1, 2, 18)
    context[0, 0, 9:] = torch.tensor([1.0, -1.0, *PLAIN])
    context[0, 1] = torch.tensor([1.0, *[0.0] * 5, -1, 0, 0, 0, 0, 1, *[0.0] * 6])
    inner = slice(1, SIZE - 1)  # at its edge an enlarged sprite fades
    assert torch.allclose(canvas(context, own)[0, :, inner, inner].mean((1, 2)), RED, atol=0.01)
    context[0, 1, 6:9] = torch.tensor([2 / 3, 1, 1])
    assert torch.allclose(canvas(context, own)[0, :, inner, inner].mean((1, 2)), BLUE, atol=0.01)
    context[0, 0, 9:11] = torch.tensor([-1.0, 1.0])
    sprite = own.memory(torch.eye(6)[:1], torch.tensor([1]))[0]
    wanted = (sprite[:3] + 1 - sprite[3:]).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert (canvas(context, own)[0] - wanted).abs().mean() < 0.15, "the sprite of the second style, enlarged"


def test_a_canvas_is_of_its_own_context_alone() -> None:
    own, context = network(), contexts()
    together = canvas(context, own)
    for i in range(3):
        assert torch.allclose(canvas(context[[i]], own)[0], together[i], atol=1e-6)
    blank = torch.zeros(3, 3, SIZE, SIZE)
    assert torch.equal(own(blank + 5, torch.zeros(3), context=context), 2 * together - 1), "and of no noise or time"


def test_a_canvas_of_half_the_size_shows_the_same() -> None:
    own, context = network(), contexts(1)
    context[0, 0, 9:] = torch.tensor([1.0, -1.0, *PLAIN])
    context[0, 1:, 9:12] = torch.tensor([[-0.5, 0, 0], [0.5, -0.5, 0], [0.5, 0.5, -0.5]])  # side by side, on pixels
    whole = canvas(context, own)
    assert torch.allclose(canvas(context, own, SIZE // 2), avg_pool2d(whole, 2), atol=1e-6)


def test_places_have_gradients() -> None:
    own, context = network(), (contexts().tanh() / 2).requires_grad_()  # edges on no pixel
    (canvas(context, own) * torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert context.grad is not None
    assert (context.grad[:, 1:, 9:12].abs() > 0).all(), "where things are and how large"
    assert torch.autograd.gradcheck(
        lambda x, side: placed(torch.ones(1, 1, 4, 4, dtype=torch.double), x, 0 * x, side, 8),
        [torch.tensor([0.313], dtype=torch.double, requires_grad=True)] * 2,
    )


def test_half_precision_and_double_are_the_same_canvas() -> None:
    own, context = network(), contexts()
    wanted = canvas(context, own)
    half = network().bfloat16()(torch.zeros(3, 3, SIZE, SIZE).bfloat16(), torch.ones(3), context=context.bfloat16())
    assert ((half + 1) / 2 - wanted).abs().mean() < 0.01
    double = network().double()(torch.zeros(3, 3, SIZE, SIZE).double(), torch.ones(3), context=context.double())
    assert double.dtype == torch.float64 and ((double + 1) / 2 - wanted).abs().max() < 1e-5


def test_what_does_not_fit_is_refused() -> None:
    own, x, t = network(), torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1)
    with pytest.raises(InputError, match="takes a context of width 18 and nothing else, and got none$"):
        own(x, t)
    with pytest.raises(InputError, match="and got one of 14$"):
        own(x, t, context=torch.zeros(1, 2, 14))
    with pytest.raises(InputError, match="and got concat$"):
        own(x, t, context=torch.zeros(1, 2, 18), concat=x)
    with pytest.raises(ShapeError, match="sprites are drawn on squares, as 128×128, not on 4×8$"):
        own(torch.zeros(1, 3, 8, 4), t, context=torch.zeros(1, 2, 18))


def test_no_layers_are_the_ground() -> None:
    ground = torch.rand(2, 3, 4, 4)
    assert torch.equal(composed(ground, torch.zeros(2, 0, 4, 4, 4), torch.zeros(2, 0)), ground)
