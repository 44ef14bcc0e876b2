"""Whole trajectories beside k-diffusion's samplers, on the same exact levels and the same noise."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.grid import KarrasSpacing, levels
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.schedule import EDM, VP, Schedule
from sfumato.oracle import MixtureDenoiser
from sfumato.parts import SAMPLERS
from sfumato.sample import DPMSolver, Sampler, sample
from sfumato.sample.steps import Past

SCHEDULES: dict[str, Schedule] = {"edm": EDM(), "vp": VP()}
STEPS = 12
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5]], dtype=torch.float64)
STDS = torch.tensor([0.6, 0.7, 0.5], dtype=torch.float64)
X, NOISE = torch.randn((2, 4, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def sampling() -> Any:
    """Their module of samplers alone: what else it imports, of theirs and of others, no sampler here asks for."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or found.origin is None:
        pytest.skip("k-diffusion is not installed: pip install --no-deps k-diffusion")
    stubs = {name: ModuleType(name) for name in ("k_diffusion", "k_diffusion.utils", "torchdiffeq", "torchsde")}
    vars(stubs["torchdiffeq"])["odeint"] = None
    vars(stubs["k_diffusion"])["utils"] = stubs["k_diffusion.utils"]
    vars(stubs["k_diffusion.utils"])["append_dims"] = lambda x, ndim: x.reshape(*x.shape, *[1] * (ndim - x.ndim))
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", Path(found.origin).parent / "sampling.py")
    assert spec is not None and spec.loader is not None
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


class Always(Noise):
    """The same noise at every draw."""

    def __init__(self) -> None:
        pass

    def like(self, x: Tensor) -> Tensor:
        return NOISE


def path(schedule: str) -> list[Level]:
    """Below the last time, so that the noise can still be raised."""
    return levels(SCHEDULES[schedule], KarrasSpacing(), STEPS + 1)[1:]


def theirs(
    sampling: Any, name: str, schedule: str, levels: Sequence[Level], patch: pytest.MonkeyPatch, **more: Any
) -> Tensor:
    """Where their samples end: they integrate `x/alpha` along `sigma/alpha`."""
    oracle = MixtureDenoiser(SCHEDULES[schedule], WEIGHTS, MEANS, STDS)

    def model(y: Tensor, sigma: Tensor) -> Tensor:
        level = SCHEDULES[schedule](SCHEDULES[schedule].inverse(-2 * sigma.log()))
        return oracle(like(level.alpha, y) * y, level).x0

    patch.setattr(torch, "randn_like", lambda x: NOISE)
    sigmas = torch.cat([level.sigma / level.alpha for level in levels])
    first, last = levels[0], levels[-1]
    x = begin(levels) / like(first.alpha, X)
    return like(last.alpha, X) * getattr(sampling, name)(model, x, sigmas, disable=True, **more)


def ours(sampler: Sampler[Any], schedule: str, levels: Sequence[Level]) -> Tensor:
    *_, last = sample(
        MixtureDenoiser(SCHEDULES[schedule], WEIGHTS, MEANS, STDS), sampler, begin(levels), levels, noise=Always()
    )
    return last


def begin(levels: Sequence[Level]) -> Tensor:
    return like((levels[0].alpha ** 2 + levels[0].sigma ** 2).sqrt(), X) * X


def error(found: Tensor, wanted: Tensor) -> float:
    return (found - wanted).abs().max().item()


def drawn(sigma: Tensor, sigma_next: Tensor) -> Tensor:
    return NOISE


CHURN = {"s_churn": 0.3 * STEPS}
PAIRS: list[tuple[str, str, dict[str, Any]]] = [
    ("euler", "sample_euler", {}),
    ("euler,churn=0.3", "sample_euler", CHURN),
    ("euler-ancestral", "sample_euler_ancestral", {"noise_sampler": drawn}),
    ("euler-ancestral,eta=0.5", "sample_euler_ancestral", {"noise_sampler": drawn, "eta": 0.5}),
    ("heun", "sample_heun", {}),
    ("heun,churn=0.3", "sample_heun", CHURN),
    (
        "heun,churn=0.3,low=0.05,high=20,noise_scale=1.1",
        "sample_heun",
        {**CHURN, "s_tmin": 0.05, "s_tmax": 20.0, "s_noise": 1.1},
    ),
    *((f"lms,order={order}", "sample_lms", {"order": order}) for order in (1, 2, 3, 4)),
    ("dpm++", "sample_dpmpp_2m", {}),
    ("dpm++,eta=0.5", "sample_dpmpp_2m_sde", {"noise_sampler": drawn, "eta": 0.5}),
    ("dpm++,eta=1", "sample_dpmpp_2m_sde", {"noise_sampler": drawn}),
    ("dpm++,eta=1,form=heun", "sample_dpmpp_2m_sde", {"noise_sampler": drawn, "solver_type": "heun"}),
    ("dpm++,order=3,eta=1,form=heun,halved=true", "sample_dpmpp_3m_sde", {"noise_sampler": drawn}),
    ("dpm++2s", "sample_dpmpp_2s_ancestral", {"noise_sampler": drawn, "eta": 0.0}),
    ("dpm++2s,eta=0.5", "sample_dpmpp_2s_ancestral", {"noise_sampler": drawn, "eta": 0.5}),
    ("dpm++2s,eta=1", "sample_dpmpp_2s_ancestral", {"noise_sampler": drawn}),
]


@pytest.mark.parametrize("end", ["clean", "noisy"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("sampler", "name", "more"), PAIRS, ids=[sampler for sampler, _, _ in PAIRS])
def test_trajectories_are_theirs(
    sampling: Any,
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    name: str,
    more: dict[str, Any],
    schedule: str,
    end: str,
) -> None:
    levels = path(schedule) if end == "clean" else path(schedule)[:-1]
    if "s_churn" in more:
        more = {**more, "s_churn": more["s_churn"] * (len(levels) - 1) / STEPS}
    found = ours(SAMPLERS.parse(sampler), schedule, levels)
    assert error(found, theirs(sampling, name, schedule, levels, monkeypatch, **more)) < 1e-9


class Halved(DPMSolver):
    """3M as theirs is: half the second derivative, and a second step whose weight is φ_2 and not 2M's."""

    def _correction(self, h: Tensor, then: Level, past: tuple[Past, ...]) -> Tensor:
        if not bool(h.isfinite().all()):
            return super()._correction(h, then, past)
        decay = (1 + self.eta) * h
        φ_2 = torch.expm1(-decay) / decay + 1
        φ_3 = φ_2 / decay - 0.5
        (λ_0, x_0), (λ_1, x_1), *rest = past
        slope = (x_0 - x_1) / (λ_0 - λ_1)
        if not rest:
            return then.alpha * φ_2 * h * slope
        (λ_2, x_2) = rest[0]
        bend = (slope - (x_1 - x_2) / (λ_1 - λ_2)) / (λ_0 - λ_2)  # half the second derivative
        return then.alpha * (φ_2 * (h * slope + h * (λ_0 - λ_1) * bend) - φ_3 * h**2 * bend)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_their_3m_takes_half_the_second_derivative(
    sampling: Any, monkeypatch: pytest.MonkeyPatch, eta: float, schedule: str
) -> None:
    levels = path(schedule)
    wanted = theirs(sampling, "sample_dpmpp_3m_sde", schedule, levels, monkeypatch, eta=eta, noise_sampler=drawn)
    assert error(ours(Halved(3, eta), schedule, levels), wanted) < 1e-9
    assert error(ours(DPMSolver(3, eta), schedule, levels), wanted) > 1e-4
