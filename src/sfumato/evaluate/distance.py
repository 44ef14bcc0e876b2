"""How far drawn samples are from real ones, as two clouds of features."""

import torch
from torch import Tensor

from sfumato.errors import InputError, ShapeError


def frechet(one: Tensor, other: Tensor) -> float:
    """`|m_1 − m_2|² + tr(C_1 + C_2 − 2·(C_1·C_2)^½)`: the squared Fréchet distance of normal laws fitted to two sets
    of features, [n, d] and [m, d] (FID, arXiv:1706.08500, eq. 6, whose features are those of Inception).

    With few samples it is biased upwards: compare only figures of equal n.
    """
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ShapeError(f"features must be [n, d] and [m, d], not {list(one.shape)} and {list(other.shape)}")
    if min(len(one), len(other)) < 2:
        raise InputError("a Fréchet distance needs two samples or more on each side")
    (mean_1, cov_1), (mean_2, cov_2) = (_moments(features) for features in (one, other))
    root = _root(cov_1)
    # the eigenvalues of C_1·C_2 are those of C_1^½·C_2·C_1^½, which is symmetric
    cross = torch.linalg.eigvalsh(root @ cov_2 @ root).clamp(min=0).sqrt().sum()
    distance = ((mean_1 - mean_2) ** 2).sum() + cov_1.trace() + cov_2.trace() - 2 * cross
    return max(float(distance), 0.0)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], features.shape[1])


def _root(cov: Tensor) -> Tensor:
    """The symmetric root of a covariance."""
    values, vectors = torch.linalg.eigh(cov)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
