"""NaN and infinities in data, loss and gradient, and short memory: no update is made with them, and the last good
weights are kept."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.errors import NonFiniteError, OutOfMemoryError
from sfumato.loss import Denoising
from sfumato.train.feed import ImageFeed
from sfumato.train.plan import Budget
from train.small_runs import equal, last_step, newest, tensors, trainer, weights

GOOD = 2
"""Steps made before it happens; nothing is saved until then."""


def marked(values: Tensor, odd: float) -> Tensor:
    """The first of a batch made odd."""
    first = (torch.arange(len(values)) == 0).view(-1, *[1] * (values.ndim - 1))
    return torch.where(first, odd, values)


def poison(way: str, odd: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample of the next batches is odd, or its loss, or only the gradient of that."""
    samples, loss = ImageFeed.samples, Denoising.__call__
    if way == "data":
        monkeypatch.setattr(ImageFeed, "samples", lambda *arguments: marked(samples(*arguments), odd))
        return

    def odd_loss(*arguments: Any) -> Tensor:
        fine = loss(*arguments)
        if way == "loss":
            return marked(fine, odd)
        steep = (fine - fine.detach()).sqrt() if math.isinf(odd) else (fine - fine.detach()).sqrt() * 0
        return fine + marked(torch.zeros_like(fine), 1.0) * steep

    monkeypatch.setattr(Denoising, "__call__", odd_loss)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
@pytest.mark.parametrize("way", ["data", "loss", "gradient"])
def test_what_is_not_finite_stops_before_the_update(
    way: str, odd: float, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (well := trainer(data, tmp_path / "well")).run(Budget(GOOD))
    ill = trainer(data, tmp_path / "ill", "train.save_minutes=60")
    update = ill._update

    def watched(batch: Any) -> float:
        if ill.step == GOOD - 1:
            loss = update(batch)
            poison(way, odd, monkeypatch)
            return loss
        return update(batch)

    monkeypatch.setattr(ill, "_update", watched)
    names = r"1 of 8 pictures \(small\[\d+\]\)" if way != "gradient" else "though the loss is"
    with pytest.raises(NonFiniteError, match=names) as caught:
        ill.run(Budget(GOOD + 3))
    assert f"step {GOOD}" in str(caught.value) and "\n" not in str(caught.value)
    assert ill.step == GOOD and equal(weights(ill), weights(well))
    assert last_step(tmp_path / "ill") == GOOD and equal(
        tensors(newest(tmp_path / "ill")), tensors(newest(tmp_path / "well"))
    )


SHORT = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 9 TB")]


@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_short_memory_stops_before_the_update_and_says_what_to_set(
    error: Exception, place: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (well := trainer(data, tmp_path / "well")).run(Budget(GOOD))
    ill = trainer(data, tmp_path / "ill", "train.save_minutes=60")

    def fail(*arguments: Any) -> Any:
        if ill.step >= GOOD:
            raise error
        return honest(*arguments)

    kind, name = (Denoising, "__call__") if place == "forward" else (torch.Tensor, "backward")
    honest = getattr(kind, name)
    monkeypatch.setattr(kind, name, fail)
    with pytest.raises(
        OutOfMemoryError, match=r"a batch of 8 in 1 parts does not fit the memory: set train.accumulate=2"
    ):
        ill.run(Budget(GOOD + 3))
    assert ill.step == GOOD and equal(weights(ill), weights(well))
    assert last_step(tmp_path / "ill") == GOOD
