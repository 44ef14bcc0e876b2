"""Steps whose middles are places of the grid, solvers that know how far the trajectory is, and consistency models."""

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Linear
from sfumato.oracle import GaussianDenoiser
from sfumato.sample import LCM, DPMSolver, DPMSolverPairs, DPMSolverS, UniPC, sample

TABLE = Linear()
DATA = GaussianDenoiser(TABLE, torch.tensor([0.5, -1.0]).double(), torch.tensor([0.5, 0.2]).double())


def path(steps: int) -> list[Level]:
    """Evenly in λ, and not onto clean data."""
    levels = TABLE(TABLE.inverse(torch.linspace(-6, 6, steps + 1, dtype=torch.float64)))
    return [Level(*fields) for fields in zip(*(field.split(1) for field in levels), strict=True)]


def start() -> Tensor:
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def trajectory(sampler: object, levels: list[Level]) -> list[Tensor]:
    return list(sample(DATA, sampler, start(), levels, noise=Noise([1, 2, 3])))  # pyright: ignore[reportArgumentType]


def test_pairs_are_2s_where_the_middle_is_half_way() -> None:
    found, wanted = trajectory(DPMSolverPairs(), path(12))[1::2], trajectory(DPMSolverS(), path(12)[::2])
    for here, there in zip(found, wanted, strict=True):
        assert torch.allclose(here, there, atol=1e-12)


def test_the_last_of_pairs_may_be_of_first_order() -> None:
    found = trajectory(DPMSolverPairs(lower_final=True), path(12))
    alone = list(sample(DATA, DPMSolver(1), found[-2], path(12)[-2:], noise=Noise([1, 2, 3])))[-1]
    assert torch.equal(found[-1], alone)
    assert not torch.equal(found[-1], trajectory(DPMSolverPairs(), path(12))[-1])


def test_dpm_solver_may_end_in_low_orders() -> None:
    """The first step of a trajectory is of first order: so the last must be as one step by itself."""
    for sampler in (DPMSolver(2, euler_final=True), DPMSolver(2, lower_final=True), UniPC(2, lower_final=True)):
        few = path(8)
        *_, before, after = trajectory(sampler, few)
        if isinstance(sampler, DPMSolver):
            alone = list(sample(DATA, DPMSolver(1), before, few[-2:], noise=Noise([1, 2, 3])))[-1]
            assert torch.allclose(after, alone, atol=1e-12)
        assert not torch.equal(after, trajectory(type(sampler)(2), few)[-1])
    many = path(15)
    assert torch.equal(trajectory(DPMSolver(2, lower_final=True), many)[-1], trajectory(DPMSolver(2), many)[-1])


def test_unipc_leaves_steps_as_they_were_predicted() -> None:
    plain, without = trajectory(UniPC(1), path(8)), trajectory(UniPC(1, uncorrected=tuple(range(8))), path(8))
    ddim = trajectory(DPMSolver(1), path(8))
    assert torch.equal(plain[0], without[0]) and not torch.equal(plain[1], without[1])
    assert all(torch.allclose(here, there, atol=1e-12) for here, there in zip(without, ddim, strict=True))


def test_a_consistency_model_ends_on_what_it_says() -> None:
    """Far from t = 0 its answer is x_0 itself; at 0 it is x_t."""
    now, clean = TABLE(torch.tensor([999.0])), TABLE(torch.tensor([-1.0]))
    x0 = DATA(start(), now).x0
    assert torch.allclose(LCM().step(DATA, start(), now, clean, None, Noise([1, 2, 3]))[0], x0, atol=1e-6)
    now = TABLE(torch.tensor([0.0]))
    assert torch.equal(LCM().step(DATA, start(), now, clean, None, Noise([1, 2, 3]))[0], start())


def test_a_consistency_model_goes_back_to_less_noise() -> None:
    now, then = TABLE(torch.tensor([999.0])), TABLE(torch.tensor([500.0]))
    found, _ = LCM().step(DATA, start(), now, then, None, Noise([1, 2, 3]))
    wanted = then.alpha * DATA(start(), now).x0 + then.sigma * Noise([1, 2, 3]).like(start())
    assert torch.allclose(found, wanted, atol=1e-6)
