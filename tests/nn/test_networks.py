"""What every denoising network keeps to: its start at zero, its inputs, its sizes, samples apart, time, precision."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_dit import KINDS as DITS
from test_dit import small as dit
from test_unet import KINDS as UNETS
from test_unet import WIDTHS, condition, drawn, gap
from test_unet import small as unet

from sfumato.core.condition import Condition
from sfumato.errors import InputError, ShapeError

Build = Callable[..., Any]
NETWORKS: dict[str, tuple[Build, list[str]]] = {"unet": (unet, list(UNETS)), "dit": (dit, list(DITS))}
both = pytest.mark.parametrize("build", [build for build, _ in NETWORKS.values()], ids=NETWORKS)
each = pytest.mark.parametrize(
    ("build", "kind"),
    [pytest.param(build, kind, id=f"{name}-{kind}") for name, (build, kinds) in NETWORKS.items() for kind in kinds],
)
T = torch.tensor([10.0, 700.0])


@each
def test_the_start_is_exactly_zero(build: Build, kind: str) -> None:
    network = build(kind, awake=False, **WIDTHS)
    assert torch.equal(network(drawn(2, 3, 8, 8), T, **condition()), torch.zeros(2, 3, 8, 8))


@each
@pytest.mark.parametrize("size", [(8, 8), (4, 12), (16, 4)])
@pytest.mark.parametrize("channels", [(3, 3), (1, 2), (5, 7)])
@pytest.mark.parametrize("inputs", [{}, WIDTHS], ids=["no inputs", "all inputs"])
def test_any_channels_and_any_size_that_fits(
    build: Build, kind: str, size: tuple[int, int], channels: tuple[int, int], inputs: dict[str, Any]
) -> None:
    network = build(kind, in_channels=channels[0], out_channels=channels[1], **inputs)
    given = {**condition(), "concat": drawn(2, 2, *size)} if inputs else {}
    with torch.no_grad():
        out = network(drawn(2, channels[0], *size), T, **given)
    assert out.shape == (2, channels[1], *size)
    assert out.isfinite().all() and out.std() > 0


@both
@pytest.mark.parametrize("name", WIDTHS)
def test_an_input_may_be_the_only_one(build: Build, name: str) -> None:
    network, x = build(**{name: WIDTHS[name]}), drawn(2, 3, 8, 8)
    with torch.no_grad():
        assert gap(network(x, T, **{name: condition()[name]}), network(x, T, **{name: condition()[name] + 1})) > 1e-4


@each
def test_a_sample_does_not_depend_on_its_batch(build: Build, kind: str) -> None:
    network = build(kind, **WIDTHS)
    x, t, inputs = drawn(4, 3, 8, 8), torch.tensor([0.0, 10.0, 500.0, 999.0]), condition(4)
    with torch.no_grad():
        together = network(x, t, **inputs)
        for i in range(4):
            alone = network(x[[i]], t[[i]], **{name: value[[i]] for name, value in inputs.items()})
            assert gap(together[[i]], alone) < 2e-5  # 1.05e-5 on a processor with AVX2 alone


@each
def test_every_parameter_learns(build: Build, kind: str) -> None:
    network = build(kind, **WIDTHS)
    (network(drawn(2, 3, 8, 8), T, **condition()) * drawn(2, 3, 8, 8, seed=9)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-6, name


@each
def test_time_and_each_input_have_an_effect(build: Build, kind: str) -> None:
    network = build(kind, **WIDTHS)
    x, inputs = drawn(2, 3, 8, 8), condition()
    with torch.no_grad():
        out = network(x, T, **inputs)
        assert gap(out, network(x, T + 5, **inputs)) > 1e-4
        for name in ("vector", "concat") if (build, kind) == (unet, "single") else WIDTHS:
            assert gap(out, network(x, T, **{**inputs, name: inputs[name] + 1})) > 1e-4, name


@both
@pytest.mark.parametrize("k", [2, 4])
def test_masked_tokens_count_for_nothing(k: int, build: Build) -> None:
    network, x, inputs = build(**WIDTHS), drawn(2, 3, 8, 8), condition(k=6)
    inputs["mask"] = torch.arange(6).expand(2, 6) < k
    with torch.no_grad():
        out = network(x, T, **inputs)
        garbled = torch.where(inputs["mask"][..., None], inputs["context"], 1e3)
        assert gap(out, network(x, T, **{**inputs, "context": garbled})) < 1e-6
        cut = {**inputs, "context": inputs["context"][:, :k], "mask": inputs["mask"][:, :k]}
        assert gap(out, network(x, T, **cut)) < 1e-5
        assert gap(out, network(x, T, **{**inputs, "mask": None})) > 1e-4


@both
def test_a_sample_all_of_whose_tokens_are_masked_is_finite_and_alters_no_other(build: Build) -> None:
    network, x, inputs = build(**WIDTHS), drawn(2, 3, 8, 8), condition()
    with torch.no_grad():
        out = network(x, T, **inputs)
        inputs["mask"] = inputs["mask"].clone()
        inputs["mask"][0] = False
        masked = network(x, T, **inputs)
    assert masked.isfinite().all()
    assert gap(out[1], masked[1]) < 1e-5


@both
def test_the_order_of_tokens_without_places_does_not_matter(build: Build) -> None:
    network, x, context = build(context=5), drawn(1, 3, 8, 8), drawn(1, 4, 5, seed=2)
    with torch.no_grad():
        assert gap(network(x, T[:1], context=context), network(x, T[:1], context=context.flip(1))) < 1e-5


@both
def test_the_inputs_are_those_of_a_condition(build: Build) -> None:
    network, x = build(**WIDTHS), drawn(2, 3, 8, 8)
    assert torch.equal(network(x, T, **condition()), network(x, T, **Condition(**condition()).given()))


@both
@pytest.mark.parametrize("name", WIDTHS)
def test_an_input_that_is_missing_is_named(name: str, build: Build) -> None:
    inputs = {other: value for other, value in condition().items() if other != name}
    message = f"built for {WIDTHS[name]} numbers in `{name}`, and was given nothing in `{name}`"
    with pytest.raises(InputError, match=message):
        build(**WIDTHS)(drawn(2, 3, 8, 8), T, **inputs)


@both
@pytest.mark.parametrize("name", WIDTHS)
def test_an_input_that_was_never_built_is_named(name: str, build: Build) -> None:
    message = f"built for nothing in `{name}`, and was given {WIDTHS[name]} numbers in `{name}`"
    with pytest.raises(InputError, match=message):
        build()(drawn(2, 3, 8, 8), T, **{name: condition()[name]})


@both
@pytest.mark.parametrize(
    ("name", "shape"), [("vector", (2, 4)), ("context", (2, 4, 6)), ("concat", (2, 1, 8, 8))], ids=str
)
def test_an_input_of_another_width_is_named(name: str, shape: tuple[int, ...], build: Build) -> None:
    wrong = shape[1 if name == "concat" else -1]
    with pytest.raises(
        InputError, match=rf"built for {WIDTHS[name]} numbers in `{name}`, and was given {wrong} numbers"
    ):
        build(**WIDTHS)(drawn(2, 3, 8, 8), T, **{**condition(), name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("build", "arguments", "multiple", "size", "nearest"),
    [
        (unet, {"multipliers": (1, 2), "resample": "residual"}, 2, (9, 8), "8×8"),
        (unet, {"multipliers": (1, 2, 2), "resample": "residual"}, 4, (30, 45), "32×44"),
        (unet, {"multipliers": (1, 2, 2, 2), "resample": "residual"}, 8, (1, 28), "8×32"),
        (unet, {"multipliers": (1, 2), "patch": 4, "resample": "residual"}, 8, (26, 17), "24×16"),
        (unet, {"multipliers": (1, 2), "patch": 4}, 4, (27, 17), "28×16"),
        (unet, {"multipliers": (1, 2)}, 1, (0, 7), "1×7"),
        (dit, {"patch": 2}, 2, (9, 8), "8×8"),
        (dit, {"patch": 4}, 4, (30, 45), "32×44"),
        (dit, {"patch": 8}, 8, (1, 28), "8×32"),
        (dit, {"patch": 3}, 3, (4, 4), "3×3"),
        (dit, {"patch": 2}, 2, (0, 4), "2×4"),
    ],
)
def test_a_size_that_does_not_fit_names_the_nearest_that_does(
    build: Build, arguments: dict[str, Any], multiple: int, size: tuple[int, int], nearest: str
) -> None:
    network, (width, height) = build(awake=False, **arguments), size
    assert network.multiple == multiple
    message = rf"a picture of {width}×{height} does not fit .* a multiple of {multiple}; the nearest .* is {nearest}$"
    with pytest.raises(ShapeError, match=message):
        network(torch.zeros(1, 3, height, width), T[:1])
    network.check_size(*reversed([int(side) for side in nearest.split("×")]))


@both
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must be from 1 to 8,192, not 0"),
        ({"width": 10**9}, "width must be from 1 to 8,192, not 1,000,000,000"),
        ({"in_channels": 0}, "in_channels must be from 1 to 4,096, not 0"),
        ({"out_channels": -1}, "out_channels must be from 1 to 4,096, not -1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, not -0.1"),
        ({"vector": -1}, "vector must be from 0 to 1,048,576, not -1"),
        ({"context": -1}, "context must be from 0 to 1,048,576, not -1"),
        ({"concat": 2**21}, "concat must be from 0 to 1,048,576, not 2,097,152"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(build: Build, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(**arguments)


@each
def test_bfloat16_is_near_float32(build: Build, kind: str) -> None:
    network = build(kind, **WIDTHS)
    x, inputs = drawn(2, 3, 8, 8), condition()
    with torch.no_grad():
        wanted = network(x, T, **inputs)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(x, T, **inputs)
        found = network.bfloat16()(x.bfloat16(), T, **inputs)
    assert found.dtype == torch.bfloat16
    for near in (mixed, found):
        assert gap(near.float(), wanted) < 0.05 * wanted.abs().max()


@both
def test_time_reaches_a_bfloat16_network_in_full(build: Build) -> None:
    """Times near 1000 that bfloat16 cannot distinguish."""
    network, x = build().bfloat16(), drawn(1, 3, 8, 8).bfloat16()
    with torch.no_grad():
        assert gap(network(x, torch.tensor([997.0])), network(x, torch.tensor([998.0]))) > 0


@both
def test_dropout_acts_in_training_only(build: Build) -> None:
    network, x = build(dropout=0.5), drawn(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(x, T[:1]), network(x, T[:1]))
        network.train()
        assert not torch.equal(network(x, T[:1]), network(x, T[:1]))


@both
def test_time_scale_multiplies_time(build: Build) -> None:
    x = drawn(1, 3, 8, 8)
    with torch.no_grad():
        assert gap(build(time_scale=1000.0)(x, torch.tensor([0.25])), build()(x, torch.tensor([250.0]))) < 1e-6
