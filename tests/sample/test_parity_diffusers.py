"""Whole trajectories beside diffusers' schedulers, on the same exact levels; where they differ, why and by how much.

Their tables are float32, so ours are put in their place: what is compared is the arithmetic of the steps. Those of
`ROUNDED` compute steps in float32 all the same, and their errors may be that much larger.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import KarrasSpacing, LeadingSpacing, TrailingSpacing, levels
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.schedule import EDM, VE, Flow, Linear, Schedule
from sfumato.denoise import DenoiserLike
from sfumato.oracle import MixtureDenoiser
from sfumato.parts import SAMPLERS
from sfumato.sample import DPMSolver, Euler, sample
from sfumato.sample.steps import Past

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, with numpy 2

TABLE = Linear()
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5]], dtype=torch.float64)
STDS = torch.tensor([0.6, 0.7, 0.5], dtype=torch.float64)
STEPS = 10
BOUND = 1e-5
ROUNDED = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "EDMEulerScheduler",
)


def oracle(schedule: Schedule) -> MixtureDenoiser:
    return MixtureDenoiser(schedule, WEIGHTS, MEANS, STDS)


class Stream(Noise):
    """Noise as `torch.randn` draws it, float64, from one generator."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def like(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=self.generator, dtype=x.dtype)


def eps(estimate: Estimate) -> Tensor:
    return estimate.eps


def karras(estimate: Estimate) -> Tensor:
    """What EDM's network says, for data of deviation ½ (arXiv:2206.00364, eq. 7 and table 1)."""
    sigma = like(estimate.level.sigma, estimate.x_t)
    skip, out = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / (sigma**2 + 0.25).sqrt()
    return (estimate.x0 - skip * estimate.x_t) / out


def once(steps: int) -> list[tuple[int, bool]]:
    """The calls of a trajectory: at which of the levels, and whether a step ends with it."""
    return [(n, True) for n in range(steps)]


def in_pairs(steps: int) -> list[tuple[int, bool]]:
    """Heun's: two calls a step, and one for the last."""
    return [(n + half, half == 1) for n in range(steps - 1) for half in (0, 1)] + [(steps - 1, True)]


def first_twice(steps: int) -> list[tuple[int, bool]]:
    """PLMS': two calls for the first step."""
    return [(0, False), (1, True), *((n, True) for n in range(1, steps))]


@dataclass(frozen=True)
class Peer:
    """One of their schedulers, the levels that it visits, and how it is called.

    `exact` puts the levels into it, and `says` turns an estimate into its input. Its samples are ours or,
    `exploding`, ours divided by alpha.
    """

    name: str
    settings: dict[str, Any]
    exact: Callable[[Any, Sequence[Level]], None]
    path: Sequence[Level]
    schedule: Schedule = TABLE
    says: Callable[[Estimate], Tensor] = eps
    exploding: bool = False
    calls: Callable[[int], list[tuple[int, bool]]] = once
    more: dict[str, Any] = field(default_factory=dict)

    def trajectory(self, denoiser: DenoiserLike, x: Tensor) -> list[Tensor]:
        """Where samples stand after each step."""
        scheduler = getattr(diffusers, self.name)(**self.settings)
        scheduler.set_timesteps(len(self.path) - 1)
        self.exact(scheduler, self.path)
        scheduler.is_scale_input_called = True
        calls, noise, found = self.calls(len(self.path) - 1), Stream(), []
        takes = inspect.signature(scheduler.step).parameters
        places = [*(self.path[visit] for visit, _ in calls), self.path[-1]]
        for (now, then), (_, ends), t in zip(pairwise(places), calls, scheduler.timesteps, strict=True):
            more = dict(self.more)
            if "variance_noise" in takes:
                more["variance_noise"] = noise.like(x)
            elif "generator" in takes:
                more["generator"] = noise.generator
            theirs = x / like(now.alpha, x) if self.exploding else x
            t = int(t) if self.exact is as_alphas else t
            x = scheduler.step(self.says(denoiser(x, now)), t, theirs, **more).prev_sample
            x = x * like(then.alpha, x) if self.exploding else x
            found += [x] * ends
        return found


def as_sigmas(scheduler: Any, path: Sequence[Level]) -> None:
    """`sigma/alpha`, each as often as theirs have it."""
    exact = torch.cat([level.sigma / level.alpha for level in path])
    scheduler.sigmas = exact if len(scheduler.sigmas) == len(path) else twice(exact)


def as_flow_sigmas(scheduler: Any, path: Sequence[Level]) -> None:
    exact = torch.cat([level.sigma for level in path])
    scheduler.sigmas = exact if len(scheduler.sigmas) == len(path) else twice(exact)


def twice(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])


def as_alphas(scheduler: Any, path: Sequence[Level]) -> None:
    scheduler.alphas_cumprod = TABLE(torch.arange(1000)).alpha ** 2


def as_pairs(scheduler: Any, path: Sequence[Level]) -> None:
    """iPNDM keeps `alpha` and, as `betas`, `sigma`."""
    scheduler.alphas, scheduler.betas = (torch.cat([level[i] for level in path]) for i in (1, 2))


TRAILING = levels(TABLE, TrailingSpacing(), STEPS)
NOISY = levels(TABLE, TrailingSpacing(), STEPS + 1)[:-1]
KARRAS = levels(EDM(), KarrasSpacing(), STEPS)
FLOW = levels(Flow(), TrailingSpacing(), STEPS)
TRAILS: dict[str, Any] = {"timestep_spacing": "trailing"}
ZERO: dict[str, Any] = {**TRAILS, "lower_order_final": False, "final_sigmas_type": "zero"}
OPEN: dict[str, Any] = {**TRAILS, "lower_order_final": False, "final_sigmas_type": "sigma_min"}
BH1 = {"solver_type": "bh1"}
SDE = {"algorithm_type": "sde-dpmsolver++"}
DDPM = {**TRAILS, "clip_sample": False}
MULTISTEP, UNIPC = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
PEERS: list[tuple[str, Peer]] = [
    ("ddpm", Peer("DDPMScheduler", {**DDPM, "variance_type": "fixed_small"}, as_alphas, TRAILING)),
    (
        "ddpm,variance=large",
        Peer(
            "DDPMScheduler",
            {"timestep_spacing": "leading", "clip_sample": False, "variance_type": "fixed_large"},
            as_alphas,
            levels(TABLE, LeadingSpacing(), STEPS),
        ),
    ),
    *((f"ddim,eta={eta}", Peer("DDIMScheduler", DDPM, as_alphas, TRAILING, more={"eta": eta})) for eta in (0, 0.5, 1)),
    ("euler", Peer("EulerDiscreteScheduler", TRAILS, as_sigmas, TRAILING, exploding=True)),
    ("euler-ancestral", Peer("EulerAncestralDiscreteScheduler", TRAILS, as_sigmas, TRAILING, exploding=True)),
    ("heun", Peer("HeunDiscreteScheduler", TRAILS, as_sigmas, TRAILING, exploding=True, calls=in_pairs)),
    *(
        (f"lms,order={k}", Peer("LMSDiscreteScheduler", TRAILS, as_sigmas, TRAILING, exploding=True, more={"order": k}))
        for k in (1, 2, 3, 4)
    ),
    *((f"dpm++,order={k}", Peer(MULTISTEP, {**ZERO, "solver_order": k}, as_sigmas, TRAILING)) for k in (1, 2)),
    *(
        (f"dpm++,order={k},eta=1", Peer(MULTISTEP, {**ZERO, **SDE, "solver_order": k}, as_sigmas, TRAILING))
        for k in (1, 2)
    ),
    *((f"unipc,order={k}", Peer(UNIPC, {**TRAILS, "solver_order": k}, as_sigmas, TRAILING)) for k in (1, 2)),
    ("unipc,order=3", Peer(UNIPC, {**OPEN, "solver_order": 3}, as_sigmas, NOISY)),
    *((f"unipc,order={k},b=bh1", Peer(UNIPC, {**OPEN, **BH1, "solver_order": k}, as_sigmas, NOISY)) for k in (1, 2, 3)),
    ("ipndm", Peer("IPNDMScheduler", {}, as_pairs, TRAILING, says=lambda estimate: estimate.v)),
    (
        "plms",
        Peer(
            "PNDMScheduler",
            {"skip_prk_steps": True, "set_alpha_to_one": True},
            as_alphas,
            levels(TABLE, LeadingSpacing(), STEPS),
            calls=first_twice,
        ),
    ),
    (
        "euler",
        Peer(
            "FlowMatchEulerDiscreteScheduler",
            {},
            as_flow_sigmas,
            FLOW,
            Flow(),
            says=lambda estimate: estimate.flow,
        ),
    ),
    (
        "heun,along=flow",
        Peer(
            "FlowMatchHeunDiscreteScheduler",
            {},
            as_flow_sigmas,
            FLOW,
            Flow(),
            says=lambda estimate: estimate.flow,
            calls=in_pairs,
        ),
    ),
    ("euler", Peer("EDMEulerScheduler", {}, as_sigmas, KARRAS, EDM(), says=karras)),
    *(
        (
            f"dpm++,order={k}",
            Peer(
                "EDMDPMSolverMultistepScheduler",
                {"solver_order": k, "lower_order_final": False},
                as_sigmas,
                KARRAS,
                EDM(),
                says=karras,
            ),
        )
        for k in (1, 2)
    ),
]


def ours(sampler: str, denoiser: DenoiserLike, x: Tensor, path: Sequence[Level]) -> list[Tensor]:
    return list(sample(denoiser, SAMPLERS.parse(sampler), x, path, noise=Stream()))


def begin(level: Level) -> Tensor:
    """Samples where a trajectory begins."""
    generator = torch.Generator().manual_seed(0)
    return (level.alpha**2 + level.sigma**2).sqrt() * torch.randn(4, 2, generator=generator, dtype=torch.float64)


def error(found: Tensor, wanted: Tensor) -> float:
    return (found - wanted).abs().max().item()


@pytest.mark.parametrize(("sampler", "peer"), PEERS, ids=[f"{name}-{peer.name}" for name, peer in PEERS])
def test_trajectories_are_theirs(sampler: str, peer: Peer) -> None:
    denoiser, x = oracle(peer.schedule), begin(peer.path[0])
    for found, wanted in zip(ours(sampler, denoiser, x, peer.path), peer.trajectory(denoiser, x), strict=True):
        assert error(found, wanted) < (BOUND if peer.name in ROUNDED else 1e-9)


def test_reverse_diffusion_of_an_exploding_schedule_is_ancestral_sampling() -> None:
    """`ScoreSdeVeScheduler`: at every noise level of the schedule, it steps to the one below; the last has its mean."""
    schedule = VE(T=STEPS)
    path = levels(schedule, TrailingSpacing(), STEPS)
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=STEPS)
    scheduler.set_timesteps(STEPS)
    scheduler.set_sigmas(STEPS)
    scheduler.discrete_sigmas = torch.cat([level.sigma for level in path[-2::-1]])
    denoiser, x, noise = oracle(schedule), begin(path[0]), Stream()
    found = ours("ddpm,variance=large", denoiser, x, path)
    for n, (now, wanted) in enumerate(zip(path, found, strict=False)):
        time = torch.tensor(1 - n / (STEPS - 1))
        stepped = scheduler.step_pred(denoiser(x, now).score, time, x, generator=noise.generator)
        assert error(wanted, stepped.prev_sample_mean if n == STEPS - 1 else stepped.prev_sample) < BOUND
        x = wanted


def test_2s_is_their_single_step_solver_where_its_pairs_meet_in_the_middle() -> None:
    """They put the middle of a step into the grid; every second of their calls completes one of our steps."""
    places = torch.linspace(-6, 6, 2 * STEPS + 1, dtype=torch.float64)
    path = [Level(*fields) for fields in zip(*(f.split(1) for f in TABLE(TABLE.inverse(places))), strict=True)]
    peer = Peer(
        "DPMSolverSinglestepScheduler", {"lower_order_final": False, "final_sigmas_type": "sigma_min"}, as_sigmas, path
    )
    denoiser, x = oracle(TABLE), begin(path[0])
    for found, wanted in zip(ours("dpm++2s", denoiser, x, path[::2]), peer.trajectory(denoiser, x)[1::2], strict=True):
        assert error(found, wanted) < BOUND


# Where they differ --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knows:
    """Knows the noise that is in the samples, and believes the level that it is given."""

    eps: Tensor
    schedule: Schedule = TABLE

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        return Estimate(x_t, level, (x_t - like(level.sigma, x_t) * self.eps) / like(level.alpha, x_t))


def test_their_ddim_with_linspace_steps_from_the_wrong_time() -> None:
    """They take the time before for `t − T/steps`, which is no time of theirs: linspace's stride is `T/(steps − 1)`."""
    times = torch.linspace(999, 0, STEPS, dtype=torch.float64).round()
    path = [TABLE(t[None]) for t in (*times, torch.tensor(-1.0, dtype=torch.float64))]
    peer = Peer("DDIMScheduler", {"timestep_spacing": "linspace", "clip_sample": False}, as_alphas, path)
    x_0, noise = torch.randn((2, 4, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    denoiser, x = Knows(noise), like(path[0].alpha, x_0) * x_0 + like(path[0].sigma, x_0) * noise
    assert error(ours("ddim", denoiser, x, path)[-1], x_0) < 1e-9
    assert error(peer.trajectory(denoiser, x)[-1], x_0) > 0.1


def test_their_unipc_of_bh1_cannot_come_onto_clean_data() -> None:
    """There B(h) = −h is infinite, and they multiply a correction of 0 by it."""
    x = begin(TRAILING[0])
    assert Peer(UNIPC, {**TRAILS, **BH1}, as_sigmas, TRAILING).trajectory(oracle(TABLE), x)[-1].isnan().all()
    assert ours("unipc,b=bh1", oracle(TABLE), x, TRAILING)[-1].isfinite().all()


class Halved(DPMSolver):
    """3M with half the second derivative, as published code has it."""

    def _correction(self, h: Tensor, then: Level, past: tuple[Past, ...]) -> Tensor:
        whole = super()._correction(h, then, past)
        if len(past) < 3 or not bool(h.isfinite().all()):
            return whole
        (λ_0, x_0), (λ_1, x_1), (λ_2, x_2) = past
        second = 2 * h**2 * ((x_0 - x_1) / (λ_0 - λ_1) - (x_1 - x_2) / (λ_1 - λ_2)) / (λ_0 - λ_2)
        decay = (1 + self.eta) * h
        return whole + then.alpha * ((torch.expm1(-decay) / decay + 1) / decay - 0.5) * second / 2


@pytest.mark.parametrize(
    ("name", "path", "schedule"), [(MULTISTEP, TRAILING, TABLE), ("EDMDPMSolverMultistepScheduler", KARRAS, EDM())]
)
def test_their_3m_takes_half_the_second_derivative(name: str, path: Sequence[Level], schedule: Schedule) -> None:
    """`D2` is a divided difference, half the derivative that φ_3 asks for."""
    settings = {"solver_order": 3, "lower_order_final": False}
    peer = Peer(
        name,
        {**settings, **TRAILS} if schedule is TABLE else settings,
        as_sigmas,
        path,
        schedule,
        says=eps if schedule is TABLE else karras,
    )
    denoiser, x = oracle(schedule), begin(path[0])
    theirs = peer.trajectory(denoiser, x)
    halved = list(sample(denoiser, Halved(3), x, path, noise=Stream()))
    for found, wanted in zip(halved, theirs, strict=True):
        assert error(found, wanted) < BOUND
    assert error(ours("dpm++,order=3", denoiser, x, path)[-1], theirs[-1]) > 100 * BOUND


def test_so_their_3m_is_of_second_order() -> None:
    """One step on x_0 that is a parabola in λ: exact for the third order, and off by a share for the second."""

    def miss(solver: DPMSolver, h: float) -> float:
        λ = torch.tensor([-2 * h, -h, 0.0, h], dtype=torch.float64)
        then = Level(λ[3:], torch.ones(1).double(), torch.exp(-λ[3:]))
        past = tuple(Past(place[None], (place**2)[None, None]) for place in λ[[2, 1, 0]])
        x = torch.ones(1, 1, dtype=torch.float64)
        mean, data = math.exp(-h), -math.expm1(-h)
        found = mean * x + data * past[0].slope + solver._correction(λ[3:], then, past)
        wanted = mean + h**2 - 2 * h + 2 * -math.expm1(-h)  # ∫ of exp(λ − h)·λ² over the step, and x decayed
        return abs(found.item() - wanted)

    assert miss(DPMSolver(3), 0.1) < 1e-15
    assert math.log2(miss(Halved(3), 0.1) / miss(Halved(3), 0.05)) == pytest.approx(3, abs=0.15)


def test_their_3m_of_the_sde_has_a_sign_wrong() -> None:
    """`(1 − e^(−2h) − 2h)/(2h)² − 0.5` tends to −1 as h falls; what it stands for, `… + 0.5`, tends to 0."""
    places = 2 * torch.linspace(-0.3, 0.0, 4, dtype=torch.float64)
    path = [Level(*fields) for fields in zip(*(f.split(1) for f in TABLE(TABLE.inverse(places))), strict=True)]
    scheduler = diffusers.DPMSolverMultistepScheduler(**OPEN, **SDE, solver_order=3)
    scheduler.set_timesteps(3)
    as_sigmas(scheduler, path)
    scheduler._step_index = 2
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    theirs = scheduler.multistep_dpm_solver_third_order_update([one, zero, zero], sample=zero, noise=zero)
    past = tuple(Past(level.logsnr / 2, x_0) for level, x_0 in zip(path[2::-1], (zero, zero, one), strict=True))
    found = DPMSolver(3, 1.0)._correction((path[3].logsnr - path[2].logsnr) / 2, path[3], past)
    assert found.item() == pytest.approx(0.05, abs=0.05)
    assert theirs.item() < -0.2


@pytest.mark.parametrize(
    "peer",
    [
        Peer("EulerDiscreteScheduler", TRAILS, as_sigmas, TRAILING[1:], exploding=True, more={"s_churn": 1.0}),
        Peer("EDMEulerScheduler", {}, as_sigmas, KARRAS[1:], EDM(), karras, more={"s_churn": 1.0}),
    ],
    ids=lambda peer: peer.name,
)
def test_their_churn_asks_the_network_before_the_noise_is_raised(peer: Peer) -> None:
    """EDM (algorithm 2, line 7) asks at the raised noise. A denoiser whose answer is one and the same shows no more."""
    x = begin(peer.path[0])

    def apart(denoiser: DenoiserLike) -> float:
        found = sample(denoiser, Euler(churn=1 / (len(peer.path) - 1)), x, peer.path, noise=Stream())
        return max(error(here, there) for here, there in zip(found, peer.trajectory(denoiser, x), strict=True))

    if peer.says is eps:
        assert apart(Knows(begin(peer.path[0]), peer.schedule)) < BOUND
    assert apart(oracle(peer.schedule)) > 100 * BOUND
