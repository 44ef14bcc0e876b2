"""Readers: do pictures show what was asked for?"""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato.data import open_source, prepare
from sfumato.errors import InputError
from sfumato.evaluate.reading import Labels, agreement, convolutions, support_vectors


def bars(n: int, seed: int = 0) -> tuple[Tensor, Labels]:
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
    pixels, labels = torch.from_numpy(pictures.pixels) / 127.5 - 1, pictures.labels
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
