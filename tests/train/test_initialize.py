"""Beginning with the weights of another network: those that fit, whatever is wrapped around them."""

import pytest
import torch

from sfumato.errors import InputError
from sfumato.nn.image.layout import DenseLayout, WithLayout
from sfumato.nn.image.unet import UNet
from sfumato.train.initialize import initialize


def unet(seed: int, width: int = 8, vector: int = 0, concat: int = 0) -> UNet:
    torch.manual_seed(seed)
    return UNet(2, 2, width=width, multipliers=(1,), blocks=1, attention=(), vector=vector, concat=concat)


def test_every_weight_is_taken_from_one_of_the_same_shape() -> None:
    one, other = unet(0), unet(1)
    assert (
        initialize(one, other.state_dict(), "other", "train.init_from")
        == "train.init_from: beginning with the weights of other"
    )
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_what_does_not_fit_stays_and_is_counted() -> None:
    """A network around which a layout draws has a wider way in, and a way in for the vector."""
    bare, wrapped = unet(0), WithLayout(unet(1, vector=3, concat=2), DenseLayout(3, 2, 4, width=8))
    before = {name: value.clone() for name, value in wrapped.state_dict().items()}
    line = initialize(wrapped, bare.state_dict(), "bare", "train.init_from")
    after, own = wrapped.state_dict(), bare.state_dict()
    taken = [name for name, value in own.items() if after[f"network.{name}"].shape == value.shape]
    assert line.endswith(f"of bare, but for {len(after) - len(taken)} of {len(after)} tensors, which do not fit")
    assert all(torch.equal(after[f"network.{name}"], own[name]) for name in taken)
    stayed = after.keys() - {f"network.{name}" for name in taken}
    assert {"layout.enter.weight", "network.enter.weight"} <= stayed
    assert all(torch.equal(after[name], before[name]) for name in stayed)
    again = unet(2)
    initialize(again, after, "wrapped", "train.init_from")
    assert all(torch.equal(again.state_dict()[name], own[name]) for name in taken)


def test_where_nothing_fits_that_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no weight of other has a name and a shape .*, by codec.init_from=null$"):
        initialize(torch.nn.Linear(3, 3), unet(0).state_dict(), "other", "codec.init_from")
