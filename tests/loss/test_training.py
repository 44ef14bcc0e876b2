"""The bound as a training loss, and L_hybrid, whose bound teaches the variance alone."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal, posterior, posterior_variance, step_variance
from sfumato.core.level import Level
from sfumato.core.schedule import VE, VP, Cosine, Flow, Linear, Schedule, ZeroTerminal
from sfumato.errors import InputError
from sfumato.loss import VLB, Denoising, Hybrid, Loss, MinSNRWeight, SNRWeight
from sfumato.loss.variational import decoder_term

SCHEDULES: list[Schedule] = [Linear(), Cosine(T=50), ZeroTerminal(Linear()), VE(T=20, sigma_max=5.0)]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def situation(schedule: Schedule, learned: bool = False) -> tuple[Tensor, Estimate, Tensor, Tensor]:
    """x_0, a wrong estimate from the first time to the last, and its x_0 and v, the leaves of its gradient."""
    x_0, eps, wrong, v = torch.randn((4, 5, 2, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_0 = (x_0.clamp(-1, 1) * 127.5).round() / 127.5  # 8-bit data
    t = schedule.first + torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64) * (schedule.last - schedule.first)
    level = schedule(t.round())
    x0, v = (x_0 + 0.1 * wrong).requires_grad_(), v.tanh().requires_grad_()
    return x_0, Estimate(marginal(x_0, level).sample(eps), level, x0, (v + 1) / 2 if learned else None), x0, v


def before(schedule: Schedule, level: Level) -> Level:
    return schedule(torch.where(level.t > 0, level.t - 1, schedule.clean))


@each
def test_the_bound_is_the_squared_error_in_the_weights_of_the_chain(schedule: Schedule) -> None:
    """`T·½(SNR(s) − SNR(t))·|x_0 − x_0(x_t)|²` (VDM, arXiv:2107.00630, eq. 13 and 14), in bits an element."""
    x_0, estimate, _, _ = situation(schedule)
    found = VLB()(estimate, x_0, schedule)
    s = before(schedule, estimate.level)
    assert schedule.T is not None
    fall = (s.logsnr.exp() - estimate.level.logsnr.exp())[1:]
    error = ((x_0 - estimate.x0) ** 2).mean((1, 2))[1:]
    wanted = schedule.T / 2 * fall * error / math.log(2)
    torch.testing.assert_close(found[1:], wanted, rtol=1e-8, atol=1e-13)


@each
@pytest.mark.parametrize("learned", [False, True])
def test_at_the_first_time_the_bound_is_that_of_the_decoder(schedule: Schedule, learned: bool) -> None:
    x_0, estimate, _, _ = situation(schedule, learned)
    first = estimate.rows(torch.tensor([0]))
    clean = schedule(torch.tensor([schedule.clean]))
    wanted = schedule.T * decoder_term(first, x_0[:1], clean, "learned" if learned else "small")
    assert VLB()(estimate, x_0, schedule)[0].item() == pytest.approx(wanted.item(), rel=1e-12)


def released_decoder(x_0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """improved-diffusion's discretized_gaussian_log_likelihood, in bits and with an exact Φ."""
    Φ = torch.special.ndtr
    high, low = ((x_0 - mean + side / 255) * torch.exp(-log_variance / 2) for side in (1, -1))
    mass = torch.where(x_0 < -0.999, Φ(high), torch.where(x_0 > 0.999, 1 - Φ(low), Φ(high) - Φ(low)))
    return -mass.log2().mean((1, 2))


@pytest.mark.parametrize("learned", [False, True])
def test_clipped_the_last_step_has_the_variance_of_released_code(learned: bool) -> None:
    """`posterior_log_variance_clipped`: that of t = 1 at t = 0 as well; a learned one goes from there to β_0."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    products = (1 - betas).cumprod(0)
    clipped = (betas[1] * (1 - products[0]) / (1 - products[1])).log()
    x_0, estimate, _, _ = situation(Linear(), learned)
    estimate = Estimate(estimate.x_t, estimate.level, x_0 + (estimate.x0 - x_0) / 10, estimate.variance_fraction)
    share = 0.0 if estimate.variance_fraction is None else estimate.variance_fraction[:1]
    wanted = 1000 * released_decoder(x_0[:1], estimate.x0[:1], share * betas[0].log() + (1 - share) * clipped)
    found, plain = (VLB(one)(estimate, x_0, Linear()) for one in (True, False))
    assert found[0].item() == pytest.approx(wanted.item(), rel=1e-9)
    assert torch.equal(found[1:], plain[1:]) and abs(found[0] - plain[0]) > 1
    if learned:
        hybrid = Hybrid(1.0, clipped=True)(estimate, x_0, Linear()) - Denoising()(estimate, x_0, Linear())
        assert hybrid[0].item() == pytest.approx(wanted.item(), rel=1e-6)


def test_a_chain_of_one_step_has_no_step_before_the_last() -> None:
    x = torch.zeros(1, 2, 3, dtype=torch.float64)
    with pytest.raises(InputError, match="clipped takes the variance of the step before the last, and a chain of one"):
        VLB(clipped=True)(Estimate(x, Linear(T=1)(torch.tensor([0])), x), x, Linear(T=1))


@each
def test_with_a_learned_variance_the_bound_is_the_divergence_of_two_normal_laws(schedule: Schedule) -> None:
    x_0, estimate, _, _ = situation(schedule, learned=True)
    level = estimate.level
    s = before(schedule, level)
    true = posterior(x_0, estimate.x_t, s, level)
    assert estimate.variance_fraction is not None and schedule.T is not None
    low, high = (each(s, level)[1:, None, None] for each in (posterior_variance, step_variance))
    guessed = torch.distributions.Normal(
        estimate.reverse(s).mean[1:],
        (high ** estimate.variance_fraction[1:] * low ** (1 - estimate.variance_fraction[1:])).sqrt(),
    )
    exact = torch.distributions.Normal(true.mean[1:], low.sqrt())
    wanted = torch.distributions.kl_divergence(exact, guessed).mean((1, 2)) * schedule.T / math.log(2)
    torch.testing.assert_close(VLB()(estimate, x_0, schedule)[1:], wanted, rtol=1e-6, atol=1e-9)


@each
@pytest.mark.parametrize("mean", [Denoising(), Denoising(MinSNRWeight())], ids=repr)
def test_hybrid_is_the_loss_of_the_mean_and_a_share_of_the_bound(schedule: Schedule, mean: Loss) -> None:
    x_0, estimate, _, _ = situation(schedule, learned=True)
    found = Hybrid(share=0.01, mean=mean)(estimate, x_0, schedule)
    wanted = mean(estimate, x_0, schedule) + 0.01 * VLB()(estimate, x_0, schedule)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


@each
def test_the_bound_teaches_the_variance_and_not_the_mean(schedule: Schedule) -> None:
    """The gradient in x_0 is that of L_simple, and in v that of the bound."""
    x_0, estimate, x0, v = situation(schedule, learned=True)
    hybrid = torch.autograd.grad(Hybrid(share=0.5)(estimate, x_0, schedule).sum(), (x0, v), retain_graph=True)
    (simple,) = torch.autograd.grad(Denoising()(estimate, x_0, schedule).sum(), x0, retain_graph=True)
    bound = torch.autograd.grad(VLB()(estimate, x_0, schedule).sum(), (x0, v))
    assert torch.equal(hybrid[0], simple)
    torch.testing.assert_close(hybrid[1], 0.5 * bound[1], rtol=1e-12, atol=0)
    assert bound[0].abs().max() > 1e-6 and bound[1].abs().max() > 1e-6, "the bound alone teaches both"


def test_the_best_variance_is_that_of_the_reverse_step() -> None:
    """Where x_0 is known the smallest is right; where it is missed by much, a larger one."""
    x_0, _, _, _ = situation(Linear())
    level = Linear()(torch.full((5,), 500.0))
    x_t = marginal(x_0, level).sample(torch.zeros_like(x_0))
    small, large = (torch.full_like(x_0, between) for between in (0.0, 1.0))
    for miss, better, worse in ((0.0, small, large), (100.0, large, small)):
        here, there = (VLB()(Estimate(x_t, level, x_0 + miss, f), x_0, Linear()).sum() for f in (better, worse))
        assert here < there


@pytest.mark.parametrize("loss", [VLB(), Hybrid()], ids=repr)
def test_float32_losses_and_gradients_are_finite_at_every_time(loss: Loss) -> None:
    schedule = Cosine()
    level = schedule(torch.arange(1000))
    x_0, eps, wrong, v = torch.randn((4, 1000, 1, 4), generator=torch.Generator().manual_seed(0))
    x_0 = x_0.clamp(-1, 1)
    x0, v = wrong.requires_grad_(), v.tanh().requires_grad_()
    found = loss(Estimate(marginal(x_0, level).sample(eps), level, x0, (v + 1) / 2), x_0, schedule)
    assert found.shape == (1000,) and found.dtype == torch.float32 and found.isfinite().all()
    for gradient in torch.autograd.grad(found.mean(), (x0, v)):
        assert gradient.isfinite().all()


def test_without_a_chain_there_is_no_bound() -> None:
    x_0, estimate, _, _ = situation(Linear(), learned=True)
    for schedule in (VP(), Flow(), VE()):
        for loss in (VLB(), Hybrid()):
            with pytest.raises(
                InputError, match="the bound sums over the steps of a chain, and this schedule has none"
            ):
                loss(estimate, x_0, schedule)


def test_without_a_variance_there_is_nothing_for_hybrid_to_teach() -> None:
    x_0, estimate, _, _ = situation(Linear())
    with pytest.raises(InputError, match="this network gives none: set variance=learned"):
        Hybrid()(estimate, x_0, Linear())


def test_the_bound_weighs_as_snr_does_where_steps_are_short() -> None:
    """`T·(SNR(s) − SNR(t)) → −dSNR/du = SNR·(−dλ/du)`, u = t/T: VDM's continuous bound (eq. 17)."""
    schedule = Linear()
    x_0, estimate, _, _ = situation(schedule)
    middle = estimate.rows(torch.tensor([2]))
    t = middle.level.t
    slope = 1000 * (schedule(t - 1).logsnr - schedule(t).logsnr)
    wanted = slope / 2 * Denoising(SNRWeight())(middle, x_0[2:3], schedule) / math.log(2)
    assert VLB()(middle, x_0[2:3], schedule).item() == pytest.approx(wanted.item(), rel=0.02)
