"""What a network predicts, and what that says of the data."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal, posterior
from sfumato.core.level import Level, like
from sfumato.core.parameterization import (
    Coefficients,
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    MeanPrediction,
    Parameterization,
    ScorePrediction,
    VPrediction,
    X0Prediction,
)
from sfumato.core.schedule import EDM, VE, VP, Cosine, Linear, Schedule, SubVP, ZeroTerminal
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.oracle import GaussianDenoiser

NOISY: list[Schedule] = [ZeroTerminal(Linear()), FlowSchedule(), FlowSchedule(shift=3.0)]
SCHEDULES: list[Schedule] = [Linear(), Cosine(), VP(), SubVP(), VE(), VE(T=10), VE(growth="linear"), EDM(), *NOISY]
KINDS: list[Parameterization] = [
    EpsPrediction(),
    X0Prediction(),
    VPrediction(),
    ScorePrediction(),
    ScorePrediction(over_sigma=False),
    ScorePrediction(sigma_data=0.7),
    FlowPrediction(),
    FlowPrediction("sigma"),
    EDMPreconditioning(1.5),
]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def drawn() -> tuple[Tensor, Tensor]:
    """x_0 and eps, [5, 2, 3]."""
    return torch.randn((2, 5, 2, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()


def level_at(schedule: Schedule, parts: list[float]) -> Level:
    """Levels at shares of the way, whole times where they must be; short of pure noise."""
    last = schedule.last
    if schedule in NOISY:
        last -= 1 if schedule.T else 0.001
    t = schedule.first + torch.tensor(parts, dtype=torch.float64) * (last - schedule.first)
    return schedule(t.round() if schedule.T else t)


def raw(parameterization: Parameterization, x_0: Tensor, eps: Tensor, level: Level) -> Tensor:
    """What the network should answer, by each definition."""
    x_t = marginal(x_0, level).sample(eps)
    match parameterization:
        case EpsPrediction():
            return eps
        case X0Prediction():
            return x_0
        case VPrediction():
            return like(level.alpha, x_0) * eps - like(level.sigma, x_0) * x_0
        case FlowPrediction():
            return eps - x_0
        case ScorePrediction(over_sigma):
            score = -eps / like(level.sigma, x_0)
            return score * like(level.sigma, x_0) if over_sigma else score
        case EDMPreconditioning(sigma_data):
            sigma, x = like(level.sigma / level.alpha, x_0), x_t / like(level.alpha, x_0)  # of unit signal, as in EDM
            spread = sigma**2 + sigma_data**2
            return (x_0 - sigma_data**2 / spread * x) / (sigma * sigma_data / spread.sqrt())
        case MeanPrediction(schedule, step):
            s = level.t - step
            before = schedule(torch.where(s < schedule.first, schedule.clean, s))
            return posterior(x_0, x_t, before, level).mean
    raise AssertionError(parameterization)


@each
@pytest.mark.parametrize("chosen", [*KINDS, None], ids=lambda chosen: repr(chosen) if chosen else "MeanPrediction()")
@settings(max_examples=20)
@given(parts=st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_the_true_answer_gives_the_data_back(
    schedule: Schedule, chosen: Parameterization | None, parts: list[float]
) -> None:
    chosen = chosen or MeanPrediction(schedule, step=1 if schedule.T else 0.01)
    level = level_at(schedule, parts)
    x_0, eps = drawn()
    x_t = marginal(x_0, level).sample(eps)
    skip, out, scale, time = chosen(level)
    found = like(skip, x_t) * x_t + like(out, x_t) * raw(chosen, x_0, eps, level)
    assert (found - x_0).abs().max() < 1e-9
    if not isinstance(chosen, EDMPreconditioning):
        sigma_data = getattr(chosen, "sigma_data", None)
        spread = 1.0 if sigma_data is None else (sigma_data * level.alpha) ** 2 + level.sigma**2
        assert (scale**2 * spread - 1).abs().max() < 1e-12, "the network sees unit variance, or x_t as it is"
        assert torch.equal(time, level.sigma if chosen == FlowPrediction("sigma") else level.t)


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_on_its_own_schedule_karras_is_table_1_of_edm(sigma_data: float) -> None:
    sigma = torch.tensor([0.002, 0.1, 1.0, 80.0], dtype=torch.float64)
    skip, out, scale, time = EDMPreconditioning(sigma_data)(EDM()(sigma))
    spread = sigma**2 + sigma_data**2
    torch.testing.assert_close(skip, sigma_data**2 / spread, rtol=1e-12, atol=0)
    torch.testing.assert_close(out, sigma * sigma_data / spread.sqrt(), rtol=1e-12, atol=0)
    torch.testing.assert_close(scale, 1 / spread.sqrt(), rtol=1e-12, atol=0)
    torch.testing.assert_close(time, sigma.log() / 4, rtol=1e-12, atol=1e-15)


def test_diffusers_preconditions_as_karras() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EDMEulerScheduler()
    for sigma in (0.002, 0.5, 80.0):
        skip, out, scale, time = EDMPreconditioning(0.5)(EDM()(torch.tensor([sigma], dtype=torch.float64)))
        x, f = torch.tensor([[1.25]]), torch.tensor([[-0.75]])
        wanted = scheduler.precondition_outputs(x, f, sigma).item()
        assert (skip * 1.25 + out * -0.75).item() == pytest.approx(wanted, rel=1e-6)
        assert scale.item() == pytest.approx(scheduler.precondition_inputs(x, sigma).item() / 1.25, rel=1e-6)
        assert time.item() == pytest.approx(scheduler.precondition_noise(sigma).item(), rel=1e-6)


@each
@pytest.mark.parametrize("sigma_data", [0.5, 2.0])
def test_karras_keeps_input_and_target_at_unit_variance(schedule: Schedule, sigma_data: float) -> None:
    """For x_0 of standard deviation sigma_data: of independent x_0 and eps, variances add."""
    level = level_at(schedule, [0.0, 0.01, 0.5, 0.99, 1.0])
    skip, out, scale, _ = EDMPreconditioning(sigma_data)(level)
    of_input = scale**2 * (level.alpha**2 * sigma_data**2 + level.sigma**2)
    of_target = ((1 - skip * level.alpha) ** 2 * sigma_data**2 + (skip * level.sigma) ** 2) / out**2
    assert (of_input - 1).abs().max() < 1e-12 and (of_target - 1).abs().max() < 1e-9


@each
def test_karras_blows_its_own_errors_up_as_little_as_can_be(schedule: Schedule) -> None:
    """`out` is the least there is, over all ways to skip (EDM, arXiv:2206.00364, appendix B.6)."""
    level = level_at(schedule, [0.0, 0.01, 0.5, 0.99, 1.0])
    skip, out, _, _ = EDMPreconditioning(0.5)(level)
    for off in (-1e-3, 1e-3):
        other = skip + off
        assert ((1 - other * level.alpha) ** 2 * 0.25 + (other * level.sigma) ** 2 > out**2).all()


@pytest.mark.parametrize("schedule", NOISY, ids=repr)
def test_what_is_known_of_pure_noise_is_given_there_too(schedule: Schedule) -> None:
    level = schedule(torch.tensor([schedule.last]))
    x_0, eps = drawn()
    for chosen in (X0Prediction(), VPrediction(), FlowPrediction(), FlowPrediction("sigma")):
        skip, out, _, _ = chosen(level)
        found = like(skip, eps) * eps + like(out, eps) * raw(chosen, x_0, eps, level)
        assert (found - x_0).abs().max() < 1e-12


@pytest.mark.parametrize("schedule", NOISY, ids=repr)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EpsPrediction(), "eps"),
        (ScorePrediction(), "score"),
        (ScorePrediction(False), "score"),
        (EDMPreconditioning(), "karras"),
        (None, "mean"),
    ],
)
def test_what_divides_by_the_signal_is_refused_at_pure_noise(
    kind: Parameterization | None, name: str, schedule: Schedule
) -> None:
    chosen = kind or MeanPrediction(schedule, step=1 if schedule.T else 0.01)
    message = (
        rf"a network that predicts {name} cannot be evaluated at alpha 0 .* predict x0, v or flow, or end the schedule"
    )
    for times in ([schedule.last], [schedule.first, schedule.last]):
        with pytest.raises(InputError, match=message):
            chosen(schedule(torch.tensor(times)))


@pytest.mark.parametrize("sigma_data", [0.0, -1.0, float("nan")])
def test_karras_needs_data_that_varies(sigma_data: float) -> None:
    with pytest.raises(InputError, match=f"sigma_data must be above 0, not {sigma_data}"):
        EDMPreconditioning(sigma_data)(EDM()(torch.tensor([1.0])))


def test_the_mean_is_of_the_step_before_and_of_the_data_itself_at_the_first() -> None:
    schedule = Linear(T=10)
    level = schedule(torch.tensor([0, 1, 9]))
    x_0, x_t = (part[:3] for part in drawn())
    skip, out, _, _ = MeanPrediction(schedule)(level)
    f = (x_0 - like(skip, x_t) * x_t) / like(out, x_t)
    before = schedule(torch.tensor([-1, 0, 8]))
    assert (f - posterior(x_0, x_t, before, level).mean).abs().max() < 1e-12
    assert torch.equal(f[0], x_0[0])


def test_v_allows_schedules_that_do_not_preserve_variance() -> None:
    level = Level(*torch.tensor([[0.3], [0.7], [2.5]], dtype=torch.float64))
    x_0, eps = drawn()
    x_t = 0.7 * x_0 + 2.5 * eps
    skip, out, _, _ = VPrediction()(level)
    found = like(skip, x_t) * x_t + like(out, x_t) * raw(VPrediction(), x_0, eps, level)
    assert (found - x_0).abs().max() < 1e-12


@each
def test_an_estimate_is_the_same_in_every_view(schedule: Schedule) -> None:
    level = level_at(schedule, [0.0, 0.1, 0.5, 0.9, 1.0])
    x_0, eps = drawn()
    x_t = marginal(x_0, level).sample(eps)
    estimate = Estimate(x_t, level, x_0)
    alpha, sigma = like(level.alpha, x_t), like(level.sigma, x_t)
    for view, wanted in (
        (estimate.eps, eps),
        (estimate.v, alpha * eps - sigma * x_0),
        (estimate.flow, eps - x_0),
        (estimate.score, -(x_t - alpha * x_0) / sigma**2),
    ):
        assert ((view - wanted) / wanted.abs().clamp(min=1)).abs().max() < 1e-10
    power = alpha**2 + sigma**2
    assert ((alpha * x_t - sigma * estimate.v) / power - x_0).abs().max() < 1e-10
    s = level_at(schedule, [0.0, 0.05, 0.25, 0.45, 0.5])
    assert torch.equal(estimate.reverse(s).mean, posterior(x_0, x_t, s, level).mean)


@each
def test_the_score_is_the_gradient_of_the_log_density(schedule: Schedule) -> None:
    level = level_at(schedule, [0.0, 0.1, 0.5, 0.9, 1.0])
    mean, std = torch.tensor([0.4, -1.0, 0.0], dtype=torch.float64), torch.tensor([0.5, 2.0, 0.1], dtype=torch.float64)
    x_t = drawn()[0].requires_grad_()
    alpha, sigma = like(level.alpha, x_t), like(level.sigma, x_t)
    law = torch.distributions.Normal(alpha * mean, (alpha**2 * std**2 + sigma**2).sqrt())
    (wanted,) = torch.autograd.grad(law.log_prob(x_t).sum(), x_t)
    score = GaussianDenoiser(schedule, mean, std)(x_t.detach(), level).score
    assert (sigma * (score - wanted)).abs().max() < 1e-11


class Asked(torch.nn.Module):
    """A network that answers `bias·x` and remembers what it was asked."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.tensor(0.5, dtype=dtype))
        self.asked: tuple[Tensor, Tensor, dict[str, Tensor]] | None = None

    def forward(self, x: Tensor, time: Tensor, **inputs: Tensor) -> Tensor:
        self.asked = x, time, inputs
        return self.bias * x


class Half:
    """Coefficients that are all different."""

    def __call__(self, level: Level) -> Coefficients:
        one = torch.ones_like(level.t)
        return Coefficients(2 * one, 3 * one, one / 4, 10 * level.t)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_denoiser_is_its_network_and_four_coefficients(dtype: torch.dtype) -> None:
    network = Asked(dtype)
    denoiser = Denoiser(network, Linear(), Half())
    x = torch.tensor([[4.0], [8.0]])
    vector = torch.ones(2, 7)
    estimate = denoiser(x, Linear()(torch.tensor([5])), Condition(vector=vector))
    assert estimate.x0.tolist() == [[2 * 4 + 3 * 0.5 * 1], [2 * 8 + 3 * 0.5 * 2]]
    assert estimate.x0.dtype == torch.float32 and estimate.x_t is x
    assert network.asked is not None
    asked_x, time, inputs = network.asked
    assert asked_x.dtype == dtype and asked_x.tolist() == [[1.0], [2.0]]
    assert time.dtype == torch.float32 and time.tolist() == [50.0, 50.0]
    assert inputs.keys() == {"vector"} and inputs["vector"] is vector


def test_conditions_are_joined_field_by_field() -> None:
    one = Condition(vector=torch.zeros(1, 2), mask=torch.ones(1, 3, dtype=torch.bool))
    two = Condition(vector=torch.ones(2, 2), mask=torch.zeros(2, 3, dtype=torch.bool))
    both = Condition.cat([one, two])
    assert both.vector is not None and both.vector.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert both.mask is not None and both.mask.dtype == torch.bool and both.mask.shape == (3, 3)
    assert both.context is None and both.concat is None
    halved = both.map(lambda value: value[:1])
    assert halved.vector is not None and torch.equal(halved.vector, torch.zeros(1, 2))
    assert both.to("cpu").given().keys() == {"vector", "mask"}


def test_conditions_with_different_inputs_cannot_be_joined() -> None:
    with pytest.raises(InputError, match=r"different inputs cannot be joined: \[\['vector'\], \['context'\]\]"):
        Condition.cat([Condition(vector=torch.zeros(1, 2)), Condition(context=torch.zeros(1, 2, 2))])


def test_shorter_sequences_are_filled_up_with_tokens_that_do_not_count() -> None:
    tokens, mask = torch.randn(3, 4, 2), torch.ones(3, 4, dtype=torch.bool)
    long, short = Condition(context=tokens[:1], mask=mask[:1]), Condition(context=tokens[1:, :2], mask=mask[1:, :2])
    both = Condition.cat([long, short])
    assert both.context is not None and both.mask is not None
    assert torch.equal(both.context[0], tokens[0]) and torch.equal(both.context[1:, :2], tokens[1:, :2])
    assert both.context.shape == (3, 4, 2) and both.mask.sum(1).tolist() == [4, 2, 2]
    with pytest.raises(InputError, match="can only be joined if they have masks"):
        Condition.cat([long, Condition(context=tokens[1:, :2])])
