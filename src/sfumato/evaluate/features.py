"""Pictures as the features by which they are compared."""

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def features(pictures: Tensor, network: Callable[[Tensor], Tensor], batch: int = 64) -> Tensor:
    """Pictures [n, c, h, w] in [−1, 1] → features [n, d], `batch` at a time, for a network such as `MobileNet`.

    Grey pictures (c = 1) count as colour whose channels are equal.
    """
    colour = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
    return torch.cat([network(part) for part in colour.split(batch)])
