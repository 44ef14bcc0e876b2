"""Each sampler's own promises: when it draws noise, of what size, and what diffusers makes of the same step."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import Trailing, Uniform, levels
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.process import posterior_variance, step_variance
from sfumato.core.schedule import Linear
from sfumato.errors import InputError
from sfumato.oracle import Gaussian
from sfumato.sample import DDIM, Ancestral, Sampler, sample

SCHEDULE = Linear()
RULES: list[Sampler[Any]] = [DDIM(), DDIM(eta=0.5), DDIM(eta=1.0), Ancestral("small"), Ancestral("large")]


class Says:
    """A denoiser that predicts the noise `eps`."""

    schedule = SCHEDULE

    def __init__(self, eps: Tensor) -> None:
        self.eps = eps

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        return Estimate(x_t, level, (x_t - like(level.sigma, x_t) * self.eps) / like(level.alpha, x_t))


class Counts(Noise):
    """Noise that counts its draws, each of them `value` everywhere."""

    def __init__(self, value: float = 1.0) -> None:
        self.value, self.drawn = value, 0

    def like(self, x: Tensor) -> Tensor:
        self.drawn += 1
        return torch.full_like(x, self.value)


@pytest.mark.parametrize(
    ("sampler", "draws"), [(DDIM(), 0), (DDIM(eta=0.5), 4), (Ancestral("small"), 4), (Ancestral("large"), 4)], ids=repr
)
def test_noise_is_drawn_once_a_move_but_for_the_last(sampler: Sampler[Any], draws: int) -> None:
    noise, x = Counts(), torch.zeros(1, 2)
    list(sample(Says(x), sampler, x, levels(SCHEDULE, Trailing(), 5), noise=noise))
    assert noise.drawn == draws


@pytest.mark.parametrize("sampler", RULES, ids=repr)
def test_the_noise_of_a_move_has_its_deviation(sampler: Sampler[Any]) -> None:
    now, then = SCHEDULE(torch.tensor([600])), SCHEDULE(torch.tensor([400]))
    x = torch.zeros(1, 1, dtype=torch.float64)
    (still, _), (noised, _) = (sampler.step(Says(x), x, now, then, sampler.init(x), Counts(value)) for value in (0, 1))
    match sampler:
        case DDIM(eta):
            wanted = eta**2 * posterior_variance(then, now)
        case Ancestral("small"):
            wanted = posterior_variance(then, now)
        case _:
            wanted = step_variance(then, now)
    assert (noised - still).item() == pytest.approx(wanted.sqrt().item(), abs=1e-12)


@pytest.mark.parametrize("sampler", RULES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_samples_keep_their_type_and_shape(sampler: Sampler[Any], dtype: torch.dtype) -> None:
    x = torch.zeros(2, 1, 2, 2, dtype=dtype)
    *_, last = sample(Says(x), sampler, x, levels(SCHEDULE, Trailing(), 3), noise=Noise([1, 2]))
    assert last.dtype == dtype and last.shape == x.shape


@pytest.mark.parametrize("variance", ["small", "large"])
def test_diffusers_takes_the_same_ddpm_step(variance: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDPMScheduler(variance_type=f"fixed_{variance}", clip_sample=False)
    ours = Ancestral("small" if variance == "small" else "large")
    x, eps = torch.randn((2, 4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()
    for t in (999, 500, 1, 0):
        generator = torch.Generator().manual_seed(t)
        wanted = theirs.step(eps, t, x, generator=generator).prev_sample
        z = torch.randn(x.shape, generator=generator.manual_seed(t), dtype=torch.float64)

        class Same(Noise):
            def like(self, x: Tensor, z: Tensor = z) -> Tensor:
                return z

        now, then = SCHEDULE(torch.tensor([t])), SCHEDULE(torch.tensor([t - 1]))
        found, _ = ours.step(Says(eps), x, now, then, None, Same([]))
        assert (found - wanted).abs().max() < 2e-4  # their alphas are float32, and divided by: 150 at the far end


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_diffusers_takes_the_same_ddim_step(eta: float) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(10)
    x, eps, z = torch.randn((3, 4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()
    for t in (999, 499, 99):
        wanted = theirs.step(eps, t, x, eta=eta, variance_noise=z).prev_sample

        class Same(Noise):
            def like(self, x: Tensor) -> Tensor:
                return z

        now, then = (SCHEDULE(torch.tensor([time])) for time in (t, t - 100 if t > 99 else -1))
        if t == 99:  # the last: they take the signal of the first time for clean, unless told; we take clean data
            theirs.final_alpha_cumprod = torch.tensor(1.0)
        found, _ = DDIM(eta).step(Says(eps), x, now, then, None, Same([]))
        assert (found - wanted).abs().max() < 2e-4


@pytest.mark.parametrize("eta", [-3.0, 2.0, float("nan")])
def test_an_eta_out_of_bounds_is_an_input_error(eta: float) -> None:
    path = levels(Linear(), Uniform(), 3)
    x = torch.zeros(1, 2)
    with pytest.raises(InputError, match="eta must lie between 0 .* and 1"):
        list(sample(Gaussian(Linear(), x[0], x[0] + 1), DDIM(eta), x, path, noise=Noise([0])))
