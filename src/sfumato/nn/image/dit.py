"""The diffusion transformer: patches of a sample as a sequence, with time and conditions in the norms."""

import torch
from torch import Tensor

from sfumato.nn.dit_nd import DiTND
from sfumato.nn.embedding import scaled_sinusoids, sinusoidal


class DiT(DiTND):
    """A transformer over samples [b, in_channels, h, w] → [b, out_channels, h, w], conditioned on the time and up to
    four inputs.

    Each patch×patch square of the sample is one of n = h·w/patch² vectors of `width`. They go through `depth` blocks of
    self-attention and a perceptron of `mlp·width` hidden units (DiT, arXiv:2212.09748, section 3.2), in heads of
    `head_width`. Time and `vector` set the shift, scale and gate of every block (adaLN-zero), by one linear layer for
    all blocks and a learned table for each (adaLN-single, PixArt-α, arXiv:2310.00426, section 2.3): a third fewer
    parameters than a layer for each block. Queries and keys are normalised, so that the logits of attention stay
    bounded by a learned gain (Stable Diffusion 3, arXiv:2403.03206, section 5.3.2).

    Positions are fixed, so any size that the patch divides will do; a size never trained on is represented less well.
    DiT-S is the default; B is width 768, L width 1024 and depth 24, XL width 1152, depth 28 and head_width 72.

    The conditioning inputs are those of `UNet`, each a width, 0 for none: `vector` joins the time embedding, `context`
    is attended to in every block, `concat` channels are set beside the input; all give the width that they expect.

    The rest are how DiT was published (`modulation="block"`, `qk_norm=False`, `null=True`, a `base_size`):

    - `modulation` "block" gives each block a linear layer of its own (adaLN-zero, DiT, section 3.2);
    - `qk_norm` normalises queries and keys;
    - `null` learns an embedding for no class: `project` has a last column, for `1 − Σ vector`;
    - `base_size` is the side, in patches, of what it was trained on, which the positions of any other size are scaled
      to; None counts them from 0, in the frequencies of `sinusoidal`;
    - `mlp_eps` is added to the variance before the perceptron;
    - `frequency_shift` is that of `sinusoidal`, for the time: DiT's and SiT's own code has none, and frequencies
      `10000^(−i/128)`. diffusers, which draws from their weights, has 1.
    """

    dims = 2

    def positions(self, size: tuple[int, ...], device: torch.device) -> Tensor:
        height, width = size
        return positions(height, width, self.width, device, self.base_size)


def positions(
    height: int, width: int, channels: int, device: torch.device | None = None, base_size: int | None = None
) -> Tensor:
    """Sines and cosines of the places of a height×width grid, row by row: float32 [height·width, channels].

    The first half says the row and the second the column, each as `sinusoidal` of its index (DiT, arXiv:2212.09748,
    section 3.2, by ViT's frequencies).

    With a `base_size`, as in the code released with DiT, the first half says the column and the second the row; sines
    and cosines are of `p·10000^(−i/n)`, i from 0 to n − 1, n = channels/4, and p runs from 0 to base_size, whatever the
    size (as diffusers scales it).
    """
    if base_size is None:
        rows = sinusoidal(torch.arange(height, device=device), channels // 2)
        columns = sinusoidal(torch.arange(width, device=device), channels - channels // 2)
    else:
        rows, columns = (scaled_sinusoids(side, channels // 4, base_size).to(device) for side in (height, width))
    grid = rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)
    return torch.cat(grid if base_size is None else grid[::-1], dim=-1).flatten(0, 1)
