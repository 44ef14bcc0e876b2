"""The schedulers of diffusers, one row a class: its options with their defaults, what of ours they stand for, and which
values of them are done here. A row reads and writes.

The defaults are those of diffusers 0.42, which are also what it takes for options that older files do not have.
"""

from functools import partial
from typing import Any

from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing
from sfumato.core.grid import KarrasSpacing, LogSNRSpacing, UniformSpacing
from sfumato.core.parameterization import FlowPrediction
from sfumato.core.schedule import EDM, Table
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.errors import InputError
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
from sfumato.interop.diffusers.schedulers.groups import (
    EULER_FINAL,
    FINAL_SIGMAS,
    LAMBDA_MIN_CLIPPED,
    NO_FLOW,
    ORDERS,
    REMAINS,
    SIGMA_ENDS,
    SOLVER_VARIANCE,
    betas,
    bounds,
    dpm_rounds,
    dpm_solver,
    prediction,
    set_alpha_to_one,
    shape_of,
    sigma_shape,
    times,
)
from sfumato.interop.diffusers.schedulers.row import SchedulerRow
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler
from sfumato.parts import SAMPLERS
from sfumato.sample import (
    DDIM,
    LCM,
    LMS,
    PLMS,
    Ancestral,
    DPMSolver,
    DPMSolverPairs,
    Euler,
    EulerAncestral,
    Heun,
    Sampler,
    UniPC,
)

# Entries of one or two rows -------------------------------------------------------------------------------------------

_VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "learned_range": "learned"}
_PLMS_ALONE = OptionEntry({"skip_prk_steps": Option(False, (True,))}, write=lambda scheduler: {"skip_prk_steps": True})
_SINGLE_STEP_ORDERS = OptionEntry(
    {"solver_order": Option(2, (1, 2))},
    lambda values: {"sampler.order": values["solver_order"]},
    lambda scheduler: {"solver_order": 2},
)
_CORRECTORS = OptionEntry(
    {"disable_corrector": []},
    lambda values: {"sampler.uncorrected": tuple(int(step) for step in values["disable_corrector"])},
    lambda scheduler: {"disable_corrector": [*scheduler.sampler.uncorrected]},  # pyright: ignore
)


def _single_step(order: int, eta: float, form: Any, lower_final: bool) -> Sampler[Any]:
    return DPMSolverPairs(eta, form, lower_final) if order == 2 else DPMSolver(1, eta)


def _read_interpolation(values: Values) -> Arguments:
    if values["interpolation_type"] == "linear":
        return {}
    if shape_of(values) == "table":
        raise InputError("interpolation_type log_linear gives the network other times than it visits: it is not done")
    return {"spacing.sigma_range": "table"}


def _write_interpolation(scheduler: Scheduler) -> dict[str, Any]:
    given = arguments_of(scheduler, {"sigmas": "spacing.sigmas", "range": "spacing.sigma_range"})
    by_table = given.get("sigmas", "table") != "table" and given.get("range") == "table"
    return {"interpolation_type": "log_linear"} if by_table else {}


def _read_flow(values: Values) -> Arguments:
    T, shift = values["num_train_timesteps"], float(values["shift"])
    first = shift / (T + shift - 1)  # the lowest σ is a shifted one, and they shift it again
    return {"schedule": FlowSchedule(shift, first), "parameterization": FlowPrediction("sigma", float(T))}


def _write_flow(scheduler: Scheduler) -> dict[str, Any]:
    T = getattr(scheduler.parameterization, "scale", 1.0)  # their networks receive sigma, T times
    return {"num_train_timesteps": int(T) if T > 1 else 1000, **arguments_of(scheduler, {"shift": "schedule.shift"})}


_EDM_SPACING = OptionEntry(
    {"sigma_schedule": Option("karras", ("karras", "exponential")), "rho": 7.0},
    lambda o: {"spacing": KarrasSpacing(float(o["rho"])) if o["sigma_schedule"] == "karras" else LogSNRSpacing()},
    lambda scheduler: {
        "sigma_schedule": "exponential" if isinstance(scheduler.spacing, LogSNRSpacing) else "karras",
        **arguments_of(scheduler, {"rho": "spacing.rho"}),
    },
)
_EDM = (
    as_is("sigma_min", 0.002, "schedule.sigma_min"),
    as_is("sigma_max", 80.0, "schedule.sigma_max"),
    as_is("sigma_data", 0.5, "parameterization.sigma_data"),
    _EDM_SPACING,
    only(prediction_type="epsilon", final_sigmas_type="zero"),
    idle(num_train_timesteps=1000),
)

# The table ------------------------------------------------------------------------------------------------------------

_VARIANCE = choice("variance_type", "fixed_small", "sampler.variance", _VARIANCES)
_INTERPOLATION = OptionEntry(
    {"interpolation_type": Option("linear", ("linear", "log_linear"))}, _read_interpolation, _write_interpolation
)
_IN_SIGMA = partial(DiscreteSpacing, round_times=False)
_IN_LAMBDA = partial(DiscreteSpacing, drop_last=True, sigma_range="table")
_ROWS = (
    SchedulerRow(
        "DDPMScheduler",
        Table,
        Ancestral,
        [betas(zero_snr=0.0), prediction(), times(), bounds(clip=True), _VARIANCE],
        steps=1000,
        strides=True,
    ),
    SchedulerRow(
        "DDIMScheduler",
        Table,
        DDIM,
        [betas(zero_snr=0.0), prediction(), times(), set_alpha_to_one(True), bounds(clip=True, keep_eps=True)],
        strides=True,
    ),
    SchedulerRow(
        "PNDMScheduler",
        Table,
        PLMS,
        [betas(), prediction("epsilon", "v_prediction"), times(), set_alpha_to_one(False), _PLMS_ALONE],
        strides=True,
    ),
    SchedulerRow(
        "LMSDiscreteScheduler",
        Table,
        LMS,
        [betas(), prediction(), times("linspace", sigmas=True), sigma_shape()],
        _IN_SIGMA,
    ),
    SchedulerRow(
        "EulerDiscreteScheduler",
        Table,
        Euler,
        [
            betas(zero_snr=REMAINS),
            prediction(),
            times("linspace", sigmas=True),
            sigma_shape(),
            SIGMA_ENDS,
            FINAL_SIGMAS,
            _INTERPOLATION,
            only(timestep_type="discrete"),
        ],
        _IN_SIGMA,
    ),
    SchedulerRow(
        "EulerAncestralDiscreteScheduler",
        Table,
        EulerAncestral,
        [betas(zero_snr=REMAINS), prediction(), times("linspace", sigmas=True)],
        _IN_SIGMA,
    ),
    SchedulerRow(
        "HeunDiscreteScheduler",
        Table,
        Heun,
        [
            betas(0.00085, 0.012),
            prediction(),
            times("linspace", sigmas=True),
            sigma_shape(),
            bounds(clip=False, threshold=False),
        ],
        _IN_SIGMA,
    ),
    SchedulerRow(
        "DPMSolverMultistepScheduler",
        Table,
        DPMSolver,
        [
            betas(zero_snr=REMAINS),
            prediction(),
            times("linspace"),
            sigma_shape(dpm_rounds, lu=True),
            LAMBDA_MIN_CLIPPED,
            FINAL_SIGMAS,
            bounds(),
            ORDERS,
            *dpm_solver(lower_order_final=True),
            EULER_FINAL,
            SOLVER_VARIANCE,
            *NO_FLOW,
        ],
        _IN_LAMBDA,
    ),
    SchedulerRow(
        "DPMSolverSinglestepScheduler",
        Table,
        DPMSolverPairs,
        [
            betas(),
            prediction(),
            sigma_shape(dpm_rounds),
            LAMBDA_MIN_CLIPPED,
            FINAL_SIGMAS,
            bounds(),
            _SINGLE_STEP_ORDERS,
            *dpm_solver(lower_order_final=False),
            SOLVER_VARIANCE,
            *NO_FLOW,
        ],
        partial(_IN_LAMBDA, "linspace"),
        build=_single_step,
    ),
    SchedulerRow(
        "UniPCMultistepScheduler",
        Table,
        UniPC,
        [
            betas(zero_snr=REMAINS),
            prediction(),
            times("linspace"),
            sigma_shape(lambda values: values["use_karras_sigmas"]),
            SIGMA_ENDS,
            FINAL_SIGMAS,
            bounds(),
            ORDERS,
            as_is("solver_type", "bh2", "sampler.b", "bh1", "bh2"),
            as_is("lower_order_final", True, "sampler.lower_final"),
            _CORRECTORS,
            only(predict_x0=True, solver_p=None, shift_terminal=None),
            *NO_FLOW,
        ],
        _IN_LAMBDA,
    ),
    SchedulerRow("EDMEulerScheduler", EDM, Euler, [*_EDM, bounds(threshold=False)]),
    SchedulerRow(
        "EDMDPMSolverMultistepScheduler",
        EDM,
        DPMSolver,
        [*_EDM, bounds(), ORDERS, *dpm_solver(lower_order_final=True), EULER_FINAL],
    ),
    SchedulerRow(
        "FlowMatchEulerDiscreteScheduler",
        FlowSchedule,
        Euler,
        [
            OptionEntry({"num_train_timesteps": 1000, "shift": 1.0}, _read_flow, _write_flow),
            only(use_karras_sigmas=False, use_exponential_sigmas=False, use_beta_sigmas=False),
            only(use_dynamic_shifting=False, invert_sigmas=False, shift_terminal=None, stochastic_sampling=False),
            idle(base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096),
            idle(time_shift_type="exponential"),
        ],
        UniformSpacing,
    ),
    SchedulerRow(
        "LCMScheduler",
        Table,
        LCM,
        [
            betas(0.00085, 0.012, "scaled_linear", zero_snr=0.0),
            prediction(),
            bounds(clip=False),
            as_is("original_inference_steps", 50, "spacing.original_steps"),
            as_is("timestep_scaling", 10.0, "sampler.scaling"),
            idle(**times().options, set_alpha_to_one=True),
        ],
        DistilledSpacing,
        steps=4,
    ),
)

SCHEDULERS = {row.name: row for row in _ROWS}
"""The rows by the names of diffusers' classes."""
OTHER_SCHEDULERS = {
    "KDPM2DiscreteScheduler": "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler": "EulerAncestralDiscreteScheduler",
    "DEISMultistepScheduler": "DPMSolverMultistepScheduler",
    "SASolverScheduler": "UniPCMultistepScheduler",
    "DPMSolverSDEScheduler": "DPMSolverMultistepScheduler with algorithm_type sde-dpmsolver++",
}
"""Classes that Stable Diffusion is drawn with there and that have no row, each with the nearest that has one."""
OPTION_NAMES = {option for row in _ROWS for option in row.options}
"""Tools write the options of one class into the configuration of another: such are passed over, and no more."""
CLASS_OF_SAMPLER = {
    kind: row.name
    for row in _ROWS
    for kind, sampler in SAMPLERS.kinds.items()
    if row.schedule is Table and row.sampler is sampler
}
"""The scheduler that each kind of our samplers is on a table."""
