"""A network's layout, fitted before the network is trained."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from sfumato.core.schedule import Schedule, at
from sfumato.denoise import Denoiser, TokenDenoiser
from sfumato.errors import NonFiniteError
from sfumato.nn.image.layout import WithLayout
from sfumato.train.batches import Batches, mix

if TYPE_CHECKING:
    from sfumato.train.tasks.denoise import DenoiseTrainee

SAMPLES, PASSES = 100_000, 16
"""How many samples are seen at most, and how often each."""
_BATCH, _RATE = 64, 1e-3
LAYOUT_SHARE = 0.2
"""The share of a run's minutes, if it has any, that the layout may take."""


def fit_layout(
    trainee: "DenoiseTrainee",
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, of: None,
    seconds: float | None = None,
) -> None:
    """Fit the layout of the work's network, if it has one that can be asked by itself: `min_m E|x_0 − m(c)|²`.

    The mean of x_0 under a condition is the best answer at pure noise. Regression on the condition finds it in a minute
    or two, many times as many samples a second as through the network, which then begins where all is laid out.
    Adam, its rate falling to zero; a function of the recipe's seed, unless it is cut short: in `seconds`, if they are
    given, the rate falls to zero at the latest, and the fit is over. Gates start where the map is the estimate at the
    last level: `x_0 = skip·x_t + out·F` with `F = m/out`. Raises `NonFiniteError`.
    """
    network = trainee.system.denoiser.network
    if not isinstance(network, WithLayout):
        return
    layout = network.layout.to(device).requires_grad_(True)
    n = len(trainee.feed.dataset)
    seed = mix(trainee.recipe.train.seed, 1)
    steps = max(min(SAMPLES, PASSES * n) // _BATCH, 1)
    batches = Batches(
        trainee.feed, (), seed=seed, batch=_BATCH, dropout=trainee.dropout, conditioner=trainee.conditioner
    )
    optimizer = torch.optim.Adam(layout.parameters(), lr=_RATE)
    began = time.monotonic()
    for step in range(steps):
        done = max(step / steps, 0.0 if seconds is None else (time.monotonic() - began) / seconds)
        if done >= 1:
            break
        batch = batches[step]
        vector = batch.condition.vector
        assert vector is not None
        wanted = layout.averaged(batch.x_0.to(device))
        drawn = layout.draw(vector.to(device))[:, : wanted.shape[1]]  # what lies beyond is a learned variance
        loss = (drawn - wanted).square().mean()
        if not bool(loss.isfinite()):
            raise NonFiniteError(
                f"the error of the layout at step {step} is not finite: samples and their conditions should be finite"
                ", so train the codec again, or leave condition.layout out"
            )
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - done)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress((step + 1) * _BATCH, steps * _BATCH)
    with torch.no_grad():
        layout.gate.bias.fill_(_gate(trainee.system.denoiser, trainee.recipe.schedule))


def _gate(denoiser: Denoiser | TokenDenoiser, schedule: Schedule) -> float:
    assert isinstance(denoiser, Denoiser), "a layout is of pictures"
    return 1 / float(denoiser.parameterization(at(schedule, schedule.last)).out)
