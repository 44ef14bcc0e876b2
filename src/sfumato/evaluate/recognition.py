"""Does a picture show what was asked for? A classifier fitted on real pictures reads it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.nn.blocks import norm

ClassIds = npt.NDArray[np.int64]
Recognizer = Callable[[Tensor], ClassIds]
"""Pictures [n, c, h, w] in [−1, 1] → the class of each, [n]."""


def agreement(read: Recognizer, pictures: Tensor, asked: ClassIds) -> float:
    """The share of pictures that are read as what was asked for."""
    return float((read(pictures) == asked).mean())


def support_vectors(pictures: Tensor, labels: ClassIds) -> Recognizer:
    """A support-vector classifier on the pixels (scikit-learn's, radial kernel): exact enough for small pictures."""
    try:
        from sklearn.svm import SVC
    except ImportError as error:
        raise InputError("reading with support vectors needs scikit-learn: pip install sfumato[digits]") from error
    machine = SVC(C=10.0, gamma="scale").fit(_rows(pictures), labels)
    return lambda unseen: machine.predict(_rows(unseen))


@dataclass(frozen=True)
class Convolutions:
    """A small convolutional network that reads pictures, and says what it saw in them."""

    network: nn.Sequential

    def __call__(self, pictures: Tensor) -> ClassIds:
        """Pictures [n, c, h, w] → the class of each, [n]."""
        return self._through(self.network, pictures).argmax(1).numpy()

    def features(self, pictures: Tensor) -> Tensor:
        """What the last layer decides by: pictures [n, c, h, w] → float32 [n, 128]."""
        return self._through(self.network[:-1], pictures)

    @torch.no_grad()
    def _through(self, network: nn.Module, pictures: Tensor) -> Tensor:
        return torch.cat([network(part) for part in pictures.split(500)])


def convolutions(
    pictures: Tensor, labels: ClassIds, *, epochs: int = 4, batch: int = 128, seed: int = 0
) -> Convolutions:
    """A small convolutional network, fitted by AdamW in two minutes or so for 60,000 small pictures.

    Sides should be multiples of 4.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Convolutions(_fit(pictures, torch.from_numpy(labels), epochs, min(batch, len(pictures))))


def _fit(pictures: Tensor, labels: Tensor, epochs: int, batch: int) -> nn.Sequential:
    """The network of `convolutions`, fitted by cross-entropy under a rate that rises and falls once."""
    network = nn.Sequential(
        *_halving(pictures.shape[1], 32),
        *_halving(32, 64),
        nn.Conv2d(64, 128, 3, padding=1),
        norm(128),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, int(labels.max()) + 1),
    )
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    steps = epochs * (len(pictures) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=max(steps, 2))
    for _ in range(epochs):
        order = torch.randperm(len(pictures))
        for chosen in order[: len(order) // batch * batch].split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(pictures[chosen]), labels[chosen]).backward()
            optimizer.step()
            rate.step()
    return network.eval()


def _halving(channels: int, out: int) -> list[nn.Module]:
    """Convolution, norm, nonlinearity, then half the size."""
    return [nn.Conv2d(channels, out, 3, padding=1), norm(out), nn.SiLU(), nn.MaxPool2d(2)]


def _rows(pictures: Tensor) -> npt.NDArray[np.float32]:
    return pictures.flatten(1).numpy()
