"""Checkpoints: everything that a resumed run needs, in one file that is whole or absent."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import files
from sfumato.errors import FormatError, ResumeError

CHECKPOINTS_KEPT = 2
CHECKPOINT_FORMAT = 1
MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    folder: Path,
    step: int,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    memory: Tensor | None = None,
    seen: int | None = None,
) -> Path:
    """Write the state after `step` steps, then remove all but the newest `CHECKPOINTS_KEPT`. `memory` is that of the
    times, `seen` how many samples were seen."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    for name, parameter in network.named_parameters():
        for moment in MOMENTS:
            if moment in (state := optimizer.state.get(parameter, {})):
                tensors[f"{moment}.{name}"] = state[moment]
    if memory is not None:
        tensors["memory"] = memory
    path = folder / f"step-{step:09d}.safetensors"
    about = {"format": CHECKPOINT_FORMAT, "step": step} | ({} if seen is None else {"samples": seen})
    files.write_tensors(path, tensors, about)
    for old in find_checkpoints(folder)[:-CHECKPOINTS_KEPT]:
        old.unlink(missing_ok=True)
    return path


def find_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; files of other names are somebody else's."""
    paths = [path for path in folder.glob("step-*.safetensors") if step_of(path) is not None and path.is_file()]
    return sorted(paths, key=lambda path: (step_of(path), path.name))


def step_of(path: Path) -> int | None:
    """The step in a checkpoint's name; None if it is not that of one."""
    match = re.fullmatch(r"step-(\d{9,18})\.safetensors", path.name, re.ASCII)
    return None if match is None else int(match[1])


def last_step(folder: Path) -> int:
    """The step of the newest checkpoint in a folder; −1 without any."""
    paths = find_checkpoints(folder)
    return -1 if not paths else step_of(paths[-1]) or 0


def samples_seen(path: Path, batch: int) -> int:
    """How many samples a checkpoint has seen; by the batch, where it holds no such number."""
    with suppress(FormatError, KeyError, TypeError, ValueError):
        seen = json.loads(files.read_header(path)["__metadata__"]["sfumato"])["about"]["samples"]
        if type(seen) is int and seen >= 0:
            return seen
    return (step_of(path) or 0) * batch


def load_checkpoint(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    memory: Tensor | None = None,
) -> tuple[int, Tensor | None]:
    """Restore the state from `path`; returns the step and the memory of the times, which must be shaped like `memory`.

    A file that is damaged or lacks a part changes nothing.
    """
    try:
        tensors, about = files.read_tensors(path)
    except FormatError as error:
        raise FormatError(f"{error}; or delete it, and --resume goes on from the one before") from error
    step = about.get("step")
    if about.get("format") != CHECKPOINT_FORMAT or type(step) is not int or step < 0:
        raise ResumeError(f"{path} is not a checkpoint that this version of Sfumato reads")
    if step != step_of(path):
        raise ResumeError(f"{path} is the checkpoint of step {step:,} by what it says: give it its own name back")
    parts = {"network": dict(network.state_dict()), "average": dict(average.state_dict())}
    if step > 0:
        parts |= {moment: learning(network) for moment in MOMENTS}
    for part, wanted in parts.items():
        for name, like in wanted.items():
            value = tensors.get(f"{part}.{name}")
            if value is None or value.shape != like.shape:
                fault = "missing" if value is None else f"{tuple(value.shape)}, not {tuple(like.shape)}"
                raise ResumeError(f"{path} does not fit this run: {part}.{name} is {fault}")
    kept = tensors.get("memory")
    if (None if kept is None else kept.shape) != (None if memory is None else memory.shape):
        raise ResumeError(
            f"{path} does not fit this run: it remembers other losses than the recipe's times do; keep [times]"
        )
    network.load_state_dict(_part(tensors, "network"))
    average.load_state_dict(_part(tensors, "average"))
    if step > 0:
        for name, parameter in learning(network).items():
            counts_on = parameter.device if optimizer.defaults["fused"] else "cpu"  # where torch itself counts steps
            state: dict[str, Any] = {"step": torch.tensor(float(step), device=counts_on)}
            for moment in MOMENTS:
                state[moment] = (
                    tensors[f"{moment}.{name}"]
                    .to(parameter.device)
                    .contiguous(memory_format=torch.channels_last if parameter.ndim == 4 else torch.contiguous_format)
                )
            optimizer.state[parameter] = state
    return step, kept


def learning(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by their names."""
    return {name: own for name, own in network.named_parameters() if own.requires_grad}


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
