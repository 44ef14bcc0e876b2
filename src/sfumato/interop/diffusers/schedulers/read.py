"""From diffusers' `scheduler_config.json` to how we draw; `scheduler_writer` goes back.

Where a scheduler of theirs is at odds with its own paper, we do what is right; `exact` repeats what they do where that
is cheap: that is the halved 3M of DPM-Solver++.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing
from sfumato.core.grid import KarrasSpacing, LogSNRSpacing, Spacing, UniformSpacing
from sfumato.core.parameterization import (
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    Parameterization,
    VPrediction,
    X0Prediction,
)
from sfumato.core.schedule import (
    EDM,
    Betas,
    Cosine,
    Linear,
    ScaledLinear,
    Schedule,
    Sigmoid,
    Table,
    ZeroTerminal,
    at,
)
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.errors import FormatError, InputError
from sfumato.interop.diffusers.schedulers.options import read_options
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
from sfumato.settings import Thresholding

Options = Mapping[str, Any]
REMAINS = 2.0**-24
"""The alpha² that their solvers in sigma/alpha leave of a schedule that ends in pure noise."""
UNBOUNDED = 3.4028234663852886e38
"""The `sample_max_value` that bounds no sample of theirs, which are float32; JSON has no infinity."""
PREDICTIONS: dict[str, Parameterization] = {
    "epsilon": EpsPrediction(),
    "sample": X0Prediction(),
    "v_prediction": VPrediction(),
}
VARIANCES = {
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "learned_range": "learned",
}


@dataclass(frozen=True)
class Drawing:
    """How a model is drawn from: its schedule, what it predicts, the solver, spacing and number of steps, and how the
    estimate of x_0 is bounded."""

    schedule: Schedule
    parameterization: Parameterization
    sampler: Sampler[Any]
    spacing: Spacing
    steps: int = 50
    thresholding: Thresholding = Thresholding()


def read(config: Mapping[str, Any], name: str = "scheduler_config.json", exact: bool = False) -> Drawing:
    """How to draw as the scheduler that `config` describes does; with `exact`, its mistakes as well, where we can.

    Raises `FormatError`, speaking of `name`, for a class, an option or a value that we do not know or do.
    """
    kind, options = read_options(config, name)
    try:
        drawing = READERS[kind](options, exact)
        at(drawing.schedule, drawing.schedule.clean)  # a schedule that cannot be says so itself
        return drawing
    except InputError as error:
        raise FormatError(f"{name}: {error}") from error


def _ddpm(o: Options, exact: bool) -> Drawing:
    return _drawing(o, Ancestral(VARIANCES[o["variance_type"]]), _whole(o), steps=1000)  # pyright: ignore[reportArgumentType]


def _ddim(o: Options, exact: bool) -> Drawing:
    drawing = _drawing(o, DDIM(), _whole(o))
    return replace(drawing, thresholding=replace(drawing.thresholding, keep_eps=drawing.thresholding != Thresholding()))


def _pndm(o: Options, exact: bool) -> Drawing:
    return _drawing(o, PLMS(), _whole(o))


def _lms(o: Options, exact: bool) -> Drawing:
    return _drawing(o, LMS(), _sigmas(o))


def _euler(o: Options, exact: bool) -> Drawing:
    shaped = _shape(o) != "table"
    if o["interpolation_type"] == "log_linear" and not shaped:
        raise InputError("interpolation_type log_linear tells the network other times than it visits: it is not done")
    spacing = replace(_sigmas(o), final_sigma=_end(o), **_given(o, shaped))
    if o["interpolation_type"] == "log_linear":
        spacing = replace(spacing, sigma_range="table")
    return _drawing(o, Euler(), spacing, remains=REMAINS)


def _euler_ancestral(o: Options, exact: bool) -> Drawing:
    return _drawing(o, EulerAncestral(), _sigmas(o), remains=REMAINS)


def _heun(o: Options, exact: bool) -> Drawing:
    return _drawing(o, Heun(), _sigmas(o))


def _dpm_multistep(o: Options, exact: bool) -> Drawing:
    return _drawing(o, _dpm(o, exact), _solved(o), remains=REMAINS)


def _dpm_singlestep(o: Options, exact: bool) -> Drawing:
    eta = 1.0 if o["algorithm_type"].startswith("sde") else 0.0
    sampler = DPMSolverPairs(eta, o["solver_type"], o["lower_order_final"])
    spacing = _solved({**o, "timestep_spacing": "linspace", "steps_offset": 0, "use_lu_lambdas": False})
    return _drawing(o, sampler if o["solver_order"] == 2 else DPMSolver(1, eta), spacing)


def _unipc(o: Options, exact: bool) -> Drawing:
    uncorrected = tuple(int(move) for move in o["disable_corrector"])
    sampler = UniPC(o["solver_order"], o["solver_type"], uncorrected, o["lower_order_final"])
    spacing = _solved({**o, "use_lu_lambdas": False, "lambda_min_clipped": None})
    if spacing.sigmas == "karras":
        spacing = replace(spacing, time_input="rounded")
    return _drawing(o, sampler, replace(spacing, **_given(o, spacing.sigmas != "table")), remains=REMAINS)


def _edm_euler(o: Options, exact: bool) -> Drawing:
    spacing = KarrasSpacing(float(o["rho"])) if o["sigma_schedule"] == "karras" else LogSNRSpacing()
    schedule = EDM(float(o["sigma_min"]), float(o["sigma_max"]))
    return Drawing(
        schedule, EDMPreconditioning(float(o["sigma_data"])), Euler(), spacing, thresholding=_thresholding(o)
    )


def _edm_dpm(o: Options, exact: bool) -> Drawing:
    return replace(_edm_euler(o, exact), sampler=_dpm(o, exact))


def _flow(o: Options, exact: bool) -> Drawing:
    T, shift = o["num_train_timesteps"], float(o["shift"])
    first = shift / (T + shift - 1)  # the lowest σ is a shifted one, and they shift it again
    return Drawing(FlowSchedule(shift, first), FlowPrediction("sigma", float(T)), Euler(), UniformSpacing())


def _lcm(o: Options, exact: bool) -> Drawing:
    return _drawing(o, LCM(float(o["timestep_scaling"])), DistilledSpacing(o["original_inference_steps"]), steps=4)


READERS: dict[str, Callable[[Options, bool], Drawing]] = {
    "DDPMScheduler": _ddpm,
    "DDIMScheduler": _ddim,
    "PNDMScheduler": _pndm,
    "LMSDiscreteScheduler": _lms,
    "EulerDiscreteScheduler": _euler,
    "EulerAncestralDiscreteScheduler": _euler_ancestral,
    "HeunDiscreteScheduler": _heun,
    "DPMSolverMultistepScheduler": _dpm_multistep,
    "DPMSolverSinglestepScheduler": _dpm_singlestep,
    "UniPCMultistepScheduler": _unipc,
    "EDMEulerScheduler": _edm_euler,
    "EDMDPMSolverMultistepScheduler": _edm_dpm,
    "FlowMatchEulerDiscreteScheduler": _flow,
    "LCMScheduler": _lcm,
}


def _drawing(o: Options, sampler: Sampler[Any], spacing: Spacing, steps: int = 50, remains: float = 0.0) -> Drawing:
    """What all that walk a table have in common."""
    schedule = _table(o, remains)
    if isinstance(spacing, DiscreteSpacing) and math.isfinite(low := o.get("lambda_min_clipped") or -math.inf):
        if spacing.timestep_spacing == "trailing":
            raise InputError("lambda_min_clipped with trailing times gives another number of steps than asked for")
        spacing = replace(spacing, num_timesteps=int((schedule.logsnr / 2 >= low).sum()))
    return Drawing(schedule, PREDICTIONS[o["prediction_type"]], sampler, spacing, steps, _thresholding(o))


def _table(o: Options, remains: float) -> Table:
    T, start, end = o["num_train_timesteps"], float(o["beta_start"]), float(o["beta_end"])
    if o["trained_betas"] is not None:
        table: Table = Betas(tuple(float(beta) for beta in o["trained_betas"]))
    elif o["beta_schedule"] == "squaredcos_cap_v2":
        table = Cosine(T)
    else:
        laws = {"linear": Linear, "scaled_linear": ScaledLinear, "sigmoid": Sigmoid}
        table = laws[o["beta_schedule"]](T, start, end)
    return ZeroTerminal(table, remains) if o.get("rescale_betas_zero_snr") else table


def _thresholding(o: Options) -> Thresholding:
    if o.get("thresholding"):
        most = float(o["sample_max_value"])
        return Thresholding(most if most < UNBOUNDED else None, float(o["dynamic_thresholding_ratio"]))
    return Thresholding(float(o["clip_sample_range"])) if o.get("clip_sample") else Thresholding()


def _end(o: Options) -> Any:
    return "sigma_min" if o["final_sigmas_type"] == "sigma_min" else "zero"


def _whole(o: Options) -> DiscreteSpacing:
    """The times of what walks the table itself."""
    final_sigma = "zero" if o.get("set_alpha_to_one", True) else "sigma_min"
    return DiscreteSpacing(
        o["timestep_spacing"], o["steps_offset"] if o["timestep_spacing"] == "leading" else 0, final_sigma=final_sigma
    )


def _sigmas(o: Options) -> DiscreteSpacing:
    """The times of what walks σ = sigma/alpha, as k-diffusion does: they may be fractions."""
    initial_std = "marginal" if o["timestep_spacing"] == "leading" else "sigma"
    return replace(_whole(o), round_times=False, sigmas=_shape(o), initial_std=initial_std)


def _solved(o: Options) -> DiscreteSpacing:
    """The times of DPM-Solver and UniPC: whole ones, and the first is not among them."""
    shape = "exponential" if o["use_lu_lambdas"] and not o["use_karras_sigmas"] else _shape(o)
    rounded = o["use_karras_sigmas"] or o["use_lu_lambdas"]
    time_input = "rounded" if rounded and o["beta_schedule"] != "squaredcos_cap_v2" else "floor"
    time_input = "exact" if shape == "table" else time_input
    return replace(
        _whole(o), drop_last=True, sigmas=shape, sigma_range="table", time_input=time_input, final_sigma=_end(o)
    )  # pyright: ignore[reportArgumentType]


def _shape(o: Options) -> Any:
    """The law by which σ falls."""
    wanted = [shape for shape in ("karras", "exponential", "beta") if o.get(f"use_{shape}_sigmas")]
    if len(wanted) > 1:
        raise InputError(f"σ can fall by one law, not by {' and '.join(wanted)}")
    return wanted[0] if wanted else "table"


def _given(o: Options, shaped: bool) -> dict[str, Any]:
    """The ends of σ, where there is a law between them."""
    return {key: float(o[key]) for key in ("sigma_min", "sigma_max") if shaped and o[key] is not None}


def _dpm(o: Options, exact: bool) -> DPMSolver:
    eta = 1.0 if o["algorithm_type"].startswith("sde") else 0.0
    halved = exact and o["solver_order"] == 3
    return DPMSolver(o["solver_order"], eta, o["solver_type"], halved, o["euler_at_final"], o["lower_order_final"])
