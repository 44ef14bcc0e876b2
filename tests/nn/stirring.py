"""Modules with weights far from where they start, so that no part of one can be left out unseen."""

import torch
from torch import nn


def stirred(module: nn.Module) -> nn.Module:
    """The module with no weight at the value it would start from."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module
