"""A linear probe: at the minimum that defines it, and on classes that a line separates."""

import pytest
import torch

from sfumato.errors import InputError, ShapeError
from sfumato.evaluate import probe


def clouds(n: int, d: int = 5) -> tuple[torch.Tensor, list[str]]:
    """Three Gaussians about corners that a line separates."""
    stream = torch.Generator().manual_seed(0)
    place = torch.arange(n) % 3
    return torch.randn(n, d, generator=stream) + 6 * torch.eye(3, d)[place], [("a", "b", "c")[i] for i in place]


def test_what_a_line_can_separate_is_recognised() -> None:
    features, labels = clouds(600)
    found = probe.fit(features[:300], labels[:300])
    predicted = found(features[300:])
    assert sum(own == guess for own, guess in zip(labels[300:], predicted, strict=True)) >= 295


def test_it_is_where_the_penalised_error_is_least() -> None:
    """The gradient of `mean |Z W − (Y − b)|² + penalty·|W|²` is zero there."""
    features, labels = clouds(60)
    penalty = 0.3
    found = probe.fit(features, labels, penalty)
    z = (features.double() - found.mean) / found.std
    y = torch.tensor([[float(label == name) for name in found.names] for label in labels], dtype=torch.float64)
    weight = found.weight.clone().requires_grad_(True)
    error = (z @ weight - (y - y.mean(0))).square().sum(1).mean() + penalty * weight.square().sum()
    error.backward()
    assert weight.grad is not None and weight.grad.abs().max() <= 1e-12
    assert torch.allclose(found.bias, torch.full((3,), 1 / 3, dtype=torch.float64))
    assert z.mean(0).abs().max() <= 1e-12 and (z.std(0, correction=0) - 1).abs().max() <= 1e-5


def test_what_never_changes_says_nothing() -> None:
    features, labels = clouds(60)
    constant = torch.cat([features, torch.ones(60, 1)], 1)
    assert probe.fit(constant, labels)(constant) == probe.fit(features, labels)(features)


def test_what_cannot_be_fitted_or_predicted() -> None:
    features, labels = clouds(6)
    with pytest.raises(ShapeError, match=r"6 labels want features \[6, d\], not \[5, 5\]"):
        probe.fit(features[:5], labels)
    with pytest.raises(InputError, match="two labels or more, by a penalty above 0: not 1, by 0.01"):
        probe.fit(features, ["a"] * 6)
    with pytest.raises(InputError, match="not 3, by 0"):
        probe.fit(features, labels, 0.0)
    with pytest.raises(ShapeError, match=r"features must be \[n, 5\], not \[6, 4\]"):
        probe.fit(features, labels)(features[:, :4])
