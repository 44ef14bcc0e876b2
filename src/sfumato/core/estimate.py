"""One prediction, in every view."""

from dataclasses import dataclass

from torch import Tensor

from sfumato.core.level import Level, like
from sfumato.core.process import Normal, posterior


@dataclass(frozen=True)
class Estimate:
    """What a denoiser believes of the data behind noisy samples.

    `x_t` and `x0` are [b, *d]; `level` is where x_t stands. The other views follow from `x_t = alpha·x_0 + sigma·eps`.
    """

    x_t: Tensor
    level: Level
    x0: Tensor

    @property
    def eps(self) -> Tensor:
        """The noise: `eps = (x_t − alpha·x_0)/sigma`."""
        return (self.x_t - self._alpha * self.x0) / self._sigma

    @property
    def v(self) -> Tensor:
        """The velocity of progressive distillation: `v = alpha·eps − sigma·x_0`."""
        return self._alpha * self.eps - self._sigma * self.x0

    @property
    def flow(self) -> Tensor:
        """The velocity of rectified flow: `eps − x_0`."""
        return self.eps - self.x0

    @property
    def score(self) -> Tensor:
        """The gradient of the log density of x_t: `−eps/sigma`."""
        return -self.eps / self._sigma

    def before(self, s: Level) -> Normal:
        """`q(x_s | x_t, x_0)` at this x_0: the reverse step to level s, and the view `mean` of the prediction."""
        return posterior(self.x0, self.x_t, s, self.level)

    @property
    def _alpha(self) -> Tensor:
        return like(self.level.alpha, self.x_t)

    @property
    def _sigma(self) -> Tensor:
        return like(self.level.sigma, self.x_t)
