"""A network that is conditioned on texts by a text encoder of its own."""

from typing import Any

from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.nn.text.transformer import TextTransformer


class WithText(nn.Module):
    """`network`, conditioned on texts by the text encoder `text`: both are trained as one.

    The input `context` holds token ids [b, k, 1] with their mask, as the conditioner `TokenIds` gives them. The
    network's own `context` are the vectors that the text encoder makes of them and, if it has a `vector`, that is their
    mean. To its callers it is a network with a `context` of width 1.
    """

    vector, context = 0, 1

    def __init__(self, network: nn.Module, text: TextTransformer) -> None:
        super().__init__()
        self.network, self.text = network, text
        inner: Any = network
        context, vector = getattr(inner, "context", None), getattr(inner, "vector", None)
        if context != text.width or vector not in (0, text.width):
            raise InputError(
                f"the network's context should be {text.width}, the text encoder's width, and its vector that or 0, not"
                f" {context} and {vector}"
            )
        self.in_channels: int = inner.in_channels
        self.out_channels: int = inner.out_channels
        self.concat: int = inner.concat

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        *,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        concat: Tensor | None = None,
    ) -> Tensor:
        """x [b, in_channels, h, w], time [b], context [b, k, 1] and mask [b, k]; concat as the network has it."""
        if context is None or mask is None or context.shape[-1] != 1:
            raise InputError(
                "this network takes token ids in `context`, with their mask: use the conditioner of token ids"
            )
        states = self.text(context[..., 0].long(), mask)
        given: dict[str, Tensor] = {"context": states, "mask": mask}
        if self.network.vector:
            counts = mask[..., None].to(states)
            given["vector"] = (states * counts).sum(1) / counts.sum(1)
        if concat is not None:
            given["concat"] = concat
        return self.network(x, time, **given)

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ShapeError` unless the network takes samples of this size."""
        inner: Any = self.network
        inner.check_size(height, width)
