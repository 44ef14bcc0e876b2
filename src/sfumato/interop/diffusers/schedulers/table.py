"""The schedulers of diffusers, one row a class: its options with their defaults, what of ours they stand for, and which
values of them are done here. A row reads and writes.

The defaults are those of diffusers 0.42, which are also what it takes for options that older files do not have.
"""

from functools import partial

from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing
from sfumato.core.grid import UniformSpacing
from sfumato.core.schedule import EDM, Table
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.interop.diffusers.schedulers.entries import (
    as_is,
    idle,
    only,
)
from sfumato.interop.diffusers.schedulers.row import SchedulerRow
from sfumato.interop.diffusers.schedulers.solver_options import (
    CORRECTORS,
    EDM_OPTIONS,
    EULER_FINAL,
    FLOW_OPTIONS,
    NO_FLOW,
    ORDERS,
    PLMS_ALONE,
    SINGLE_STEP_ORDERS,
    SOLVER_VARIANCE,
    VARIANCE,
    bounds,
    dpm_solver,
    single_step,
)
from sfumato.interop.diffusers.schedulers.spacing_options import (
    FINAL_SIGMAS,
    INTERPOLATION,
    LAMBDA_MIN_CLIPPED,
    REMAINS,
    SIGMA_ENDS,
    betas,
    dpm_rounds,
    prediction,
    set_alpha_to_one,
    sigma_shape,
    times,
)
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
    UniPC,
)

_IN_SIGMA = partial(DiscreteSpacing, round_times=False)
_IN_LAMBDA = partial(DiscreteSpacing, drop_last=True, sigma_range="table")
_ROWS = (
    SchedulerRow(
        "DDPMScheduler",
        Table,
        Ancestral,
        [betas(zero_snr=0.0), prediction(), times(), bounds(clip=True), VARIANCE],
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
        [betas(), prediction("epsilon", "v_prediction"), times(), set_alpha_to_one(False), PLMS_ALONE],
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
            INTERPOLATION,
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
            SINGLE_STEP_ORDERS,
            *dpm_solver(lower_order_final=False),
            SOLVER_VARIANCE,
            *NO_FLOW,
        ],
        partial(_IN_LAMBDA, "linspace"),
        build=single_step,
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
            CORRECTORS,
            only(predict_x0=True, solver_p=None, shift_terminal=None),
            *NO_FLOW,
        ],
        _IN_LAMBDA,
    ),
    SchedulerRow("EDMEulerScheduler", EDM, Euler, [*EDM_OPTIONS, bounds(threshold=False)]),
    SchedulerRow(
        "EDMDPMSolverMultistepScheduler",
        EDM,
        DPMSolver,
        [*EDM_OPTIONS, bounds(), ORDERS, *dpm_solver(lower_order_final=True), EULER_FINAL],
    ),
    SchedulerRow(
        "FlowMatchEulerDiscreteScheduler",
        FlowSchedule,
        Euler,
        [
            FLOW_OPTIONS,
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
