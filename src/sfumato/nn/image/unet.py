"""The U-Net of diffusion models: DDPM's, ADM's, Stable Diffusion's and what lies between, from one class."""

from sfumato.nn.unet_nd import UNetND


class UNet(UNetND):
    """A U-Net over pictures [b, in_channels, h, w] → [b, out_channels, h, w], conditioned on the time and up to
    four inputs.

    Level k works at 1/2^k of the size with `width·multipliers[k]` channels, in `blocks` residual blocks on the way down
    and one more on the way up, each with self-attention where `attention` names the level (DDPM, arXiv:2006.11239,
    appendix B; ADM, arXiv:2105.05233, section 3). Heads are `head_width` channels wide; None means a single head; or
    `heads` says how many each level has. With `depth`, a number for each level, so many blocks of a spatial transformer
    take the place of attention (latent diffusion, arXiv:2112.10752, section 3.3), entered and left by `projection`.

    At the `bottom`, between the ways down and up, stand two residual blocks with attention between them, made as on the
    last level; its norm is left out in "bare attention", all of it in "residual", and the blocks too in "none".

    With `patch` p, each p×p square of the picture is one place of the network, its pixels side by side in channels: a
    picture of twice the side for the same work, at some cost in fine detail.

    DDPM is the default. ADM is `scale_shift=True, resample="residual", head_width=64, cosine_first=True,
    frequency_shift=0`. Stable Diffusion 1 is `width=320, multipliers=(1, 2, 4, 4), attention=(0, 1, 2), heads=(8,)*4,
    depth=(1,)*4, projection="convolution", context=768, cosine_first=True, frequency_shift=0`, with 4 channels in and
    out.

    The first convolution gives `stem` channels, and time is written in as many sinusoids; None means `width`. Norms are
    in `groups`, None leaving it to `norm`, and add `eps` to the variance. `padding` is that of `Down`, where
    resampling is plain; `cosine_first` and `frequency_shift` are those of `sinusoidal`.

    The conditioning inputs, each a width, 0 for none: `vector` joins the time embedding, by a linear layer
    or, with `vector_mlp`, by a perceptron (SDXL, arXiv:2307.01952, section 2.2); `context` is attended to wherever
    there is self-attention; `concat` channels are set beside the input, after its own. With
    `onto_concat` they are also added to what comes out: under the parameterization x0 the network then learns only what
    the conditioning image lacks of the picture (residual prediction, as SRDiff does, arXiv:2104.14951, section 3.2).
    """

    dims = 2
