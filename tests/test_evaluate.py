"""Readers: do pictures show what was asked for?"""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato.data import open_source, prepare
from sfumato.errors import InputError, ShapeError
from sfumato.evaluate.distance import frechet
from sfumato.evaluate.recognition import ClassIds, agreement, convolutions, support_vectors


def bars(n: int, seed: int = 0) -> tuple[Tensor, ClassIds]:
    """n pictures of a bar that lies or stands, with noise, and which it is."""
    stream = torch.Generator().manual_seed(seed)
    pictures = torch.randn(n, 1, 8, 8, generator=stream) * 0.3
    labels = torch.randint(0, 2, (n,), generator=stream)
    place = torch.randint(0, 8, (n,), generator=stream)
    for picture, label, at in zip(pictures, labels, place, strict=True):
        (picture[0] if label == 0 else picture[0].T)[at] += 1.5
    return pictures.clamp(-1, 1), labels.numpy()


def test_agreement_is_the_share_that_is_read_as_asked() -> None:
    asked = np.array([0, 1, 2, 3])
    assert agreement(lambda pictures: np.array([0, 1, 2, 0]), torch.zeros(4, 1, 2, 2), asked) == 0.75
    assert agreement(lambda pictures: np.array([3, 2, 1, 0]), torch.zeros(4, 1, 2, 2), asked) == 0


def test_support_vectors_read_digits_they_never_saw() -> None:
    pictures = prepare(open_source("digits"))
    assert pictures.labels is not None
    pixels, labels = torch.from_numpy(pictures.stored) / 127.5 - 1, pictures.labels
    read = support_vectors(pixels[:1200], labels[:1200])
    assert agreement(read, pixels[1200:], labels[1200:]) > 0.95
    assert agreement(read, -pixels[1200:], labels[1200:]) < 0.6, "a negative is no digit that it knows"


def test_support_vectors_without_scikit_learn_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(InputError, match=r"needs scikit-learn: pip install sfumato\[digits\]$"):
        support_vectors(*bars(10))


def test_convolutions_read_what_they_never_saw() -> None:
    read = convolutions(*bars(512), epochs=3, batch=32)
    pictures, labels = bars(600, seed=1)
    assert agreement(read, pictures, labels) > 0.95
    assert agreement(read, pictures, 1 - labels) < 0.05


def test_convolutions_are_the_same_for_the_same_seed() -> None:
    unseen, _ = bars(50, seed=1)
    one, other = (convolutions(*bars(64), epochs=1, batch=32, seed=7)(unseen) for _ in range(2))
    assert np.array_equal(one, other)


def test_convolutions_leave_the_stream_of_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    convolutions(*bars(64), epochs=1, batch=32)
    assert torch.equal(torch.rand(1), expected)


def test_convolutions_learn_from_fewer_pictures_than_a_batch() -> None:
    read = convolutions(*bars(100), epochs=20, batch=128)
    pictures, labels = bars(200, seed=1)
    assert agreement(read, pictures, labels) > 0.8


def test_features_are_what_the_class_is_decided_by() -> None:
    read = convolutions(*bars(256), epochs=2, batch=32)
    pictures, _ = bars(20, seed=1)
    features = read.features(pictures)
    assert features.shape == (20, 128)
    assert np.array_equal(read.network[-1](features).argmax(1).numpy(), read(pictures))


def correlated(n: int, seed: int) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=stream, dtype=torch.float64) @ torch.randn(4, 4, generator=stream).double()


def test_frechet_of_one_set_with_itself_is_nothing() -> None:
    x = correlated(50, 0)
    assert frechet(x, x) < 1e-10
    assert frechet(x, x[torch.randperm(50)]) < 1e-10


def test_frechet_of_a_shift_is_its_square() -> None:
    x, shift = correlated(50, 0), torch.tensor([1.0, -2.0, 0.0, 0.5])
    assert frechet(x, x + shift) == pytest.approx(5.25, rel=1e-9)


def test_frechet_of_a_stretch_along_each_axis() -> None:
    """Covariances that commute: the distance is that of the roots, `∑ (√a_i − √b_i)²`."""
    stream = torch.Generator().manual_seed(0)
    base, _ = torch.linalg.qr(torch.randn(100, 3, generator=stream, dtype=torch.float64) - 0.0)
    base = base - base.mean(0)
    base = torch.linalg.qr(base)[0] * 99**0.5  # covariance: the identity
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 1.0, 0.25]).double()
    assert frechet(base * a.sqrt(), base * b.sqrt()) == pytest.approx(
        float(((a.sqrt() - b.sqrt()) ** 2).sum()), rel=1e-9
    )


def test_frechet_agrees_with_the_matrix_root() -> None:
    one, other = correlated(60, 1), correlated(80, 2) + 0.3
    c1, c2 = torch.cov(one.T), torch.cov(other.T)
    values = torch.linalg.eigvals(c1 @ c2)
    wanted = ((one.mean(0) - other.mean(0)) ** 2).sum() + c1.trace() + c2.trace() - 2 * values.sqrt().real.sum()
    assert frechet(one, other) == pytest.approx(float(wanted), rel=1e-9)


def test_frechet_of_what_does_not_compare() -> None:
    with pytest.raises(ShapeError, match=r"features must be \[n, d\] and \[m, d\], not \[5, 4\] and \[5, 3\]"):
        frechet(torch.zeros(5, 4), torch.zeros(5, 3))
    with pytest.raises(InputError, match="two samples or more"):
        frechet(torch.zeros(1, 4), torch.zeros(5, 4))
