"""The U-Net over sound and other sequences."""

from sfumato.nn.unet_nd import UNetND


class UNet1D(UNetND):
    """A U-Net over sequences [b, in_channels, n] → [b, out_channels, n], conditioned on the time and up to four inputs.

    The network of `UNet`, argument for argument, with kernels along one axis: convolutions of 3 samples, halving by a
    stride of 2, attention over the n/2^k places of level k (DDPM, arXiv:2006.11239, appendix B, in one dimension, where
    Moûsai, arXiv:2301.11757, and Stable Audio, arXiv:2402.04825, have U-Nets too). An odd length is halved and doubled
    as well, unless within residual blocks.

    A waveform has many more samples than a picture has rows: let `patch`, the samples that are one place of the first
    level, and the number of `multipliers` bring the places with attention to some hundreds. For a second of sound at
    16 kHz, `patch=16, multipliers=(1, 2, 4, 4), attention=(2, 3)` attends over 250 and 125.

    `concat` channels, such as a mel spectrogram brought to the length n, are set beside the input; DiffWave,
    arXiv:2009.09761, adds such in every layer instead.
    """

    dims = 1
