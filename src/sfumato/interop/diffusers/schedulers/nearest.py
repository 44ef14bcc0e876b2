"""The scheduler of diffusers that a system is exported with: its own way of drawing, or the nearest that there is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

from sfumato.core.grid import levels
from sfumato.core.schedule import EDM, Table
from sfumato.denoise import TokenDenoiser
from sfumato.errors import FormatError, InputError
from sfumato.interop.diffusers.schedulers.config import read_scheduler, write_scheduler
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler
from sfumato.interop.diffusers.schedulers.table import CLASS_OF_SAMPLER, SCHEDULERS
from sfumato.parts import SAMPLERS
from sfumato.sample import DDIM, PLMS, Ancestral, DPMSolver, DPMSolverPairs, Sampler, UniPC
from sfumato.system import System
from sfumato.system.settings import Thresholding

TEXT = "StableDiffusion"
"""The beginning of the names of pipelines that read prompts."""
_PIXELS = (Ancestral, DDIM)
_STILL = (DDIM, PLMS, DPMSolver, DPMSolverPairs, UniPC)
"""Samplers that need neither noise on the way nor another start than noise of unit variance: those pipelines that read
no prompts give them neither, but for DDPM's."""


@dataclass(frozen=True)
class NearestScheduler:
    """A scheduler's configuration, and, where it does not draw as the system does, what is different."""

    config: dict[str, Any]
    difference: str = ""


def nearest_scheduler(system: System, pipeline: str) -> NearestScheduler:
    """The scheduler for `pipeline` that draws as the system does or, where diffusers has none, the nearest whose
    schedule and prediction are the same: the same sampler in the preset of diffusers for this checkpoint,
    or by trailing (DDPM: leading) times; else DDIM.

    Raises `InputError` for a schedule or a prediction that diffusers does not have with this pipeline.
    """
    denoiser, settings = system.denoiser, system.settings
    if isinstance(denoiser, TokenDenoiser):
        raise InputError(f"{pipeline} of diffusers draws numbers, and this system tokens")
    fits = isinstance(denoiser.schedule, Table) or (isinstance(denoiser.schedule, EDM) and pipeline.startswith(TEXT))
    if not fits:
        raise InputError(f"{pipeline} of diffusers has no schedule like {denoiser.schedule}")
    thresholding = settings.thresholding or Thresholding(system.codec.limit)
    own = Scheduler(
        denoiser.schedule, denoiser.parameterization, settings.sampler, settings.spacing, settings.steps, thresholding
    )
    problem: Exception | None = None
    for scheduler in _candidates(own, system, learned=_learns(system)):
        try:
            _check_sampler(scheduler.sampler, pipeline, _learns(system))
            config = _written(scheduler, pipeline)
            differences = (_difference(own, scheduler), _uneven_strides(config, scheduler))
            return NearestScheduler(config, " ".join(filter(None, differences)))
        except (InputError, FormatError) as error:
            problem = error
    raise InputError(f"diffusers cannot draw from this system: {problem}")


def _learns(system: System) -> bool:
    """Whether the network gives a variance as well."""
    return getattr(system.denoiser.network, "out_channels", 0) == 2 * system.codec.channels


def _candidates(own: Scheduler, system: System, learned: bool) -> Iterator[Scheduler]:
    """Ways to draw, the nearest first."""
    last: Sampler[Any] = Ancestral("learned") if learned else DDIM()
    for sampler in dict.fromkeys((own.sampler, last, DDIM())):
        same = replace(own, sampler=sampler)
        kind = SAMPLERS.dump(sampler)["kind"]
        ways = [same]
        if (preset := system.settings.presets.get(kind)) is not None:
            ways.append(replace(same, spacing=preset.spacing, thresholding=preset.thresholding or own.thresholding))
        elif kind in CLASS_OF_SAMPLER:
            times = "leading" if kind == "ddpm" else "trailing"  # the one that it has without a mistake
            options = {"_class_name": CLASS_OF_SAMPLER[kind], "timestep_spacing": times}
            ways.append(replace(same, spacing=read_scheduler(options).spacing))
        for way, other in product(ways, (False, True)):
            keep = way.thresholding.keep_eps != other
            yield replace(way, thresholding=replace(way.thresholding, keep_eps=keep))


def _check_sampler(sampler: Sampler[Any], pipeline: str, learned: bool) -> None:
    """Raise an `InputError` for a sampler that their pipeline does not run."""
    if pipeline.startswith(TEXT):
        return
    known = _PIXELS if pipeline in ("DDPMPipeline", "DDIMPipeline") else _STILL
    noisy = known is _STILL and getattr(sampler, "eta", 0)
    if type(sampler) not in known or noisy:
        raise InputError(f"{pipeline} runs {', '.join(one.__name__ for one in known)}, not {sampler}")
    if known is _PIXELS and learned != (sampler == Ancestral("learned")):
        raise InputError(f"{pipeline} needs a network that gives a variance to draw by it, and one that gives none")


def _written(scheduler: Scheduler, pipeline: str) -> dict[str, Any]:
    """The scheduler's configuration, such that the pipeline leaves it as it is."""
    config = write_scheduler(scheduler)
    if config.get("timestep_spacing") == "linspace" and (uneven := _uneven_strides(config, scheduler)):
        raise InputError(uneven)
    if isinstance(scheduler.sampler, Ancestral) and scheduler.sampler.variance != "small" and _last_time(scheduler) > 0:
        raise InputError("DDPMScheduler of diffusers adds noise to clean data unless the last time that it visits is 0")
    if not pipeline.startswith(TEXT) or "XL" in pipeline:
        return config
    later = config | {"steps_offset": 1}  # Stable Diffusion's own sets both, whatever the configuration
    if config.get("clip_sample") or read_scheduler(later).spacing != read_scheduler(config).spacing:
        raise InputError(f"{pipeline} begins its times at 1 and does not clip, whatever its scheduler's configuration")
    return later


def _uneven_strides(config: dict[str, Any], scheduler: Scheduler) -> str:
    """A note on a scheduler that takes strides of T/steps, rounded down, where its own times are not so far
    apart; "" of any other."""
    if not SCHEDULERS[config["_class_name"]].strides or scheduler.schedule.T is None:
        return ""
    stride = scheduler.schedule.T // scheduler.steps
    times = [float(level.t) for level in levels(scheduler.schedule, scheduler.spacing, scheduler.steps)[:-1]]
    if {now - then for now, then in pairwise(times)} <= {stride}:
        return ""
    return (
        f"{config['_class_name']} of diffusers takes strides of {stride} times whatever it visits, so that pictures of"
        f" {scheduler.steps} steps differ a little: take a number of steps that divides {scheduler.schedule.T}"
    )


def _last_time(scheduler: Scheduler) -> float:
    return float(levels(scheduler.schedule, scheduler.spacing, scheduler.steps)[-2].t)


def _difference(own: Scheduler, other: Scheduler) -> str:
    """The difference that another way of drawing makes, in words."""
    if own == other:
        return ""
    if replace(own, thresholding=other.thresholding) == other:
        return "diffusers keeps eps where it clips, unless DDIMPipeline is given use_clipped_model_output=True"
    return (
        f"diffusers cannot draw by {own.sampler} with {own.spacing}: the scheduler there is {other.sampler} with"
        f" {other.spacing}"
    )
