"""From a recipe and pictures to a system that knows nothing yet."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SMALL, pictures_file, read

from sfumato.codec import Identity
from sfumato.condition import Labels, Nothing
from sfumato.data import open_source, prepare
from sfumato.errors import InputError, ShapeError
from sfumato.media import Image
from sfumato.train.build import build
from sfumato.train.recipe import load_recipe


def test_the_data_decides_size_channels_and_classes(data: Path, tmp_path: Path) -> None:
    system = build(load_recipe("digits", SMALL), read(data))
    assert system.codec == Identity(Image(1)) and system.conditioner == Labels(("0", "1", "2"), 0.1)
    assert system.settings.size == (8, 8) and system.denoiser.network.vector == 3
    np.savez(tmp_path / "rgb.npz", images=np.zeros((2, 4, 6, 3), dtype=np.uint8))
    pictures = prepare(open_source(tmp_path / "rgb.npz"))
    system = build(
        load_recipe("ddpm", ["network.multipliers=[1,2]", "network.width=8", "network.attention=[]"]), pictures
    )
    assert system.codec == Identity(Image(3)) and system.conditioner == Nothing() and system.settings.size == (6, 4)


def test_weights_follow_from_the_seed_alone(data: Path) -> None:
    def weight(*settings: str) -> torch.Tensor:
        torch.rand(3)
        return build(load_recipe("digits", [*SMALL, *settings]), read(data)).denoiser.network.enter.weight

    assert torch.equal(weight(), weight())
    assert not torch.equal(weight(), weight("train.seed=1"))


def test_labels_are_taken_where_there_are_classes_and_the_recipe_wants_them(data: Path, tmp_path: Path) -> None:
    one_class = read(pictures_file(tmp_path / "one.npz", labels=[0] * 24))
    no_class = read(pictures_file(tmp_path / "none.npz", labels=[]))
    for kind, pictures, expected in (
        ("auto", read(data), Labels(("0", "1", "2"), 0.3)),
        ("labels", read(data), Labels(("0", "1", "2"), 0.3)),
        ("nothing", read(data), Nothing()),
        ("auto", one_class, Nothing()),
        ("auto", no_class, Nothing()),
    ):
        recipe = load_recipe("digits", [*SMALL, f"condition.kind={kind}", "condition.dropout=0.3"])
        assert build(recipe, pictures).conditioner == expected
    recipe = load_recipe("digits", [*SMALL, "condition.kind=labels"])
    for pictures, found in ((one_class, "only '0'"), (no_class, "none")):
        text = f"wants classes, and the data has {found}: sort the pictures into a folder a class, or train without, by"
        with pytest.raises(InputError, match=re.escape(text)):
            build(recipe, pictures)


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        (
            ["network.multipliers=[1,1,1,1,1]", "network.resample=residual"],
            ShapeError,
            "each side must be a multiple of 16; the nearest that fits is",
        ),
        (
            ["network.in_channels=1"],
            InputError,
            "network.in_channels follows from the data: leave it out of the recipe",
        ),
        (["network.vector=3"], InputError, "network.vector follows from the data: leave it out of the recipe"),
        (["settings.steps=1001"], InputError, "steps must be between 1 and 1,000 for this schedule, not 1,001"),
        (["schedule.T=0"], InputError, "the T of a schedule must be from 1 to 1,000,000, not 0"),
        (["schedule.max_beta=2"], InputError, "betas must lie between 0 and 1"),
    ],
)
def test_what_the_data_or_the_schedule_does_not_allow_is_reported(
    settings: list[str], kind: type[Exception], text: str, data: Path
) -> None:
    with pytest.raises(kind, match=text):
        build(load_recipe("digits", [*SMALL, *settings]), read(data))


def test_guidance_that_no_dropout_allows_is_reported_before_training(data: Path) -> None:
    with pytest.raises(InputError, match="guidance"):
        build(load_recipe("digits", [*SMALL, "condition.dropout=0.0", "settings.guidance=2.0"]), read(data))


@pytest.mark.parametrize("width", [8, 16, 32])
def test_a_narrow_network_is_conditioned_on_the_time_and_the_class(width: int, data: Path) -> None:
    """Additive embeddings must survive the normalisation after them."""
    settings = [*SMALL, f"network.width={width}", "network.multipliers=[1]", "network.scale_shift=false"]
    network = build(load_recipe("digits", settings), read(data)).denoiser.network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        x, classes = torch.randn(1, 1, 8, 8), torch.eye(3)
        plain = network(x, torch.tensor([3.0]), vector=classes[:1])
        for time, vector in ((900.0, classes[:1]), (3.0, classes[1:2])):
            assert (network(x, torch.tensor([time]), vector=vector) - plain).abs().max() > 1e-3
