"""How fast a network learns here, found by a step or two of it."""

import time

import torch
from torch import nn

from sfumato.parts import NETWORKS
from sfumato.train.compute import Compute
from sfumato.train.denoise_recipe import DenoiseRecipe

_BATCH = {"cpu": 16, "mps": 32, "cuda": 128}
"""Enough to be as fast as larger ones, or nearly so."""


def seconds_a_sample(recipe: DenoiseRecipe, shape: tuple[int, ...], compute: Compute) -> float:
    """Seconds of a training step for each sample [*shape] of noise, by the recipe's network, without what it is
    conditioned on, which costs little: the fastest of three passes forward and back, for the first sets kernels up, and
    other programs may hold one up."""
    device, batch = compute.device, _BATCH.get(compute.device.type, 16)
    network = NETWORKS.load(recipe.network, in_channels=shape[0], out_channels=shape[0]).to(device)
    x, times = torch.rand(batch, *shape, device=device), torch.zeros(batch, device=device)
    found = float("inf")
    for _ in range(3):
        began = time.monotonic()
        with torch.autocast(device.type, torch.bfloat16, enabled=compute.precision == "bfloat16"):
            loss = network(x, times).square().mean()
        loss.backward()
        float(nn.utils.clip_grad_norm_(network.parameters(), 1.0))  # waits for a GPU
        found = min(found, time.monotonic() - began)
    return max(found, 1e-9) / (batch * compute.processes)
