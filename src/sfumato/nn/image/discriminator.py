"""The discriminator of an autoencoder's training, over patches."""

from torch import Tensor, nn

from sfumato.nn.blocks import norm


class PatchDiscriminator(nn.Module):
    """Pictures [b, channels, h, w] → a score for each patch, [b, 1, h', w'], high where it looks real.

    Convolutions alone, each of the first `depth` halving the size, so that a score sees a patch and not the whole
    (PatchGAN, arXiv:1611.07004, section 3.2).
    """

    def __init__(self, channels: int = 3, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for _ in range(depth - 1):
            stages += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), norm(2 * width), nn.LeakyReLU(0.2)]
            width *= 2
        self.stages = nn.Sequential(*stages, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)
