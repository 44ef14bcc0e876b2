"""The prediction of tokens."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.categorical import Categorical
from sfumato.core.level import Level
from sfumato.core.process import TokenProcess
from sfumato.errors import InputError


@dataclass(frozen=True)
class TokenEstimate:
    """`p(x_0 | x_t)`, each token by itself.

    - `x_t` [b, l]: token ids;
    - `level`: the noise level of x_t;
    - `log_p` [b, l, k]: log-probabilities of the tokens of x_0;
    - `process`: the forward process by which x_t was made.
    """

    x_t: Tensor
    level: Level
    log_p: Tensor
    process: TokenProcess

    @property
    def x0(self) -> Tensor:
        """The most probable tokens, [b, l]."""
        return Categorical(self.log_p).mode()

    def reverse(self, s: Level) -> Categorical:
        """`p(x_s | x_t) = ∑ q(x_s | x_t, x_0)·p(x_0 | x_t)`, the reverse step to level s
        (D3PM, arXiv:2107.03006, eq. 4)."""
        return self.process.posterior(self.log_p, self.x_t, s, self.level)

    def rows(self, index: Tensor) -> "TokenEstimate":
        """The estimate of some of the samples: `index` bool [b] or whole numbers [n]."""
        level = Level(*(value.expand(len(self.x_t))[index.cpu()] for value in self.level))
        return replace(self, x_t=self.x_t[index], level=level, log_p=self.log_p[index])

    @property
    def prediction(self) -> Tensor:
        """The log-probabilities, on which guides act."""
        return self.log_p

    def predicting(self, x_t: Tensor, level: Level, prediction: Tensor) -> "TokenEstimate":
        """The estimate for samples x_t at `level` whose log-probabilities are `prediction`."""
        return replace(self, x_t=x_t, level=level, log_p=prediction)

    @staticmethod
    def extrapolate(null: Tensor, conditional: Tensor, scale: float) -> Tensor:
        """`log p = log p(null) + scale·(log p(conditional) − log p(null))`, normalised: [b, l, k]
        (classifier-free guidance, arXiv:2207.12598, eq. 6, of the score of tokens).

        A token that either excludes is excluded.
        """
        excluded = (null == -torch.inf) | (conditional == -torch.inf)
        line = null + scale * (conditional - null)
        return line.masked_fill(excluded, -torch.inf).log_softmax(-1)

    @staticmethod
    def rescale(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
        """Tokens have no contrast to bring back: an `InputError`."""
        raise InputError("rescale brings back the contrast of numbers, and tokens have none: leave it 0")
