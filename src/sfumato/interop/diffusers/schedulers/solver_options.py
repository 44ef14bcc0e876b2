"""Options of the solvers, and of the schedulers that have no table of betas, as entries for the rows of `table.py`."""

from typing import Any

from sfumato.core.grid import KarrasSpacing, LogSNRSpacing
from sfumato.core.parameterization import FlowPrediction
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.interop.diffusers.schedulers.entries import (
    Arguments,
    Option,
    OptionEntry,
    Values,
    arguments_of,
    as_is,
    choice,
    idle,
    only,
)
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler
from sfumato.sample import DPMSolver, DPMSolverPairs, Sampler
from sfumato.system.settings import Thresholding

UNBOUNDED = 3.4028234663852886e38
"""The `sample_max_value` that bounds no sample of theirs, which are float32; JSON has no infinity."""


def bounds(clip: bool | None = None, threshold: bool = True, keep_eps: bool = False) -> OptionEntry:
    """How the estimate of x_0 is bounded: by `clip_sample`, with its default, None where a class has no such option, or
    by dynamic thresholding (arXiv:2205.11487), which goes before. `keep_eps`: eps stays as it was."""
    clips = {} if clip is None else {"clip_sample": clip, "clip_sample_range": 1.0}
    cuts = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0} if threshold else {}

    def read(values: Values) -> Arguments:
        if values.get("thresholding"):
            most, ratio = float(values["sample_max_value"]), float(values["dynamic_thresholding_ratio"])
            return {"thresholding": Thresholding(most if most < UNBOUNDED else None, ratio, keep_eps)}
        clipped = (
            Thresholding(float(values["clip_sample_range"]), keep_eps=keep_eps)
            if values.get("clip_sample")
            else Thresholding()
        )
        return {"thresholding": clipped}

    def write(scheduler: Scheduler) -> dict[str, Any]:
        limit, ratio = scheduler.thresholding.limit, scheduler.thresholding.ratio
        if ratio is not None:
            most = UNBOUNDED if limit is None else limit
            return {"thresholding": True, "dynamic_thresholding_ratio": ratio, "sample_max_value": most}
        if limit is not None:
            return {"clip_sample": True, "clip_sample_range": limit}
        return {} if clip is None else {"clip_sample": False}

    return OptionEntry(clips | cuts, read, write)


def dpm_solver(lower_order_final: bool) -> list[OptionEntry]:
    """DPM-Solver++, of the ODE or of the SDE."""
    return [
        choice("algorithm_type", "dpmsolver++", "sampler.eta", {"dpmsolver++": 0.0, "sde-dpmsolver++": 1.0}),
        as_is("solver_type", "midpoint", "sampler.form", "midpoint", "heun"),
        as_is("lower_order_final", lower_order_final, "sampler.lower_final"),
    ]


ORDERS = as_is("solver_order", 2, "sampler.order", 1, 2, 3)
EULER_FINAL = as_is("euler_at_final", False, "sampler.euler_final")
SOLVER_VARIANCE = idle(  # two of these take the variance off what a network gives; to a solver the rest mean nothing
    variance_type=Option(
        None, (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range")
    )
)
NO_FLOW = (only(use_flow_sigmas=False, use_dynamic_shifting=False), idle(flow_shift=1.0, time_shift_type="exponential"))
"""Options of flow matching in solvers on a table."""
_VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "learned_range": "learned"}
VARIANCE = choice("variance_type", "fixed_small", "sampler.variance", _VARIANCES)
PLMS_ALONE = OptionEntry({"skip_prk_steps": Option(False, (True,))}, write=lambda scheduler: {"skip_prk_steps": True})
SINGLE_STEP_ORDERS = OptionEntry(
    {"solver_order": Option(2, (1, 2))},
    lambda values: {"sampler.order": values["solver_order"]},
    lambda scheduler: {"solver_order": 2},
)
CORRECTORS = OptionEntry(
    {"disable_corrector": []},
    lambda values: {"sampler.uncorrected": tuple(int(step) for step in values["disable_corrector"])},
    lambda scheduler: {"disable_corrector": [*scheduler.sampler.uncorrected]},  # pyright: ignore
)


def single_step(order: int, eta: float, form: Any, lower_final: bool) -> Sampler[Any]:
    return DPMSolverPairs(eta, form, lower_final) if order == 2 else DPMSolver(1, eta)


# Schedules without a table -------------------------------------------------------------------------------------------

_EDM_SPACING = OptionEntry(
    {"sigma_schedule": Option("karras", ("karras", "exponential")), "rho": 7.0},
    lambda o: {"spacing": KarrasSpacing(float(o["rho"])) if o["sigma_schedule"] == "karras" else LogSNRSpacing()},
    lambda scheduler: {
        "sigma_schedule": "exponential" if isinstance(scheduler.spacing, LogSNRSpacing) else "karras",
        **arguments_of(scheduler, {"rho": "spacing.rho"}),
    },
)
EDM_OPTIONS = (
    as_is("sigma_min", 0.002, "schedule.sigma_min"),
    as_is("sigma_max", 80.0, "schedule.sigma_max"),
    as_is("sigma_data", 0.5, "parameterization.sigma_data"),
    _EDM_SPACING,
    only(prediction_type="epsilon", final_sigmas_type="zero"),
    idle(num_train_timesteps=1000),
)


def _read_flow(values: Values) -> Arguments:
    T, shift = values["num_train_timesteps"], float(values["shift"])
    first = shift / (T + shift - 1)  # the lowest σ is a shifted one, and they shift it again
    return {"schedule": FlowSchedule(shift, first), "parameterization": FlowPrediction("sigma", float(T))}


def _write_flow(scheduler: Scheduler) -> dict[str, Any]:
    T = getattr(scheduler.parameterization, "scale", 1.0)  # their networks receive sigma, T times
    return {"num_train_timesteps": int(T) if T > 1 else 1000, **arguments_of(scheduler, {"shift": "schedule.shift"})}


FLOW_OPTIONS = OptionEntry({"num_train_timesteps": 1000, "shift": 1.0}, _read_flow, _write_flow)
