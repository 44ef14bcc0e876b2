"""Options of the schedule, the prediction and the spacing, as entries for the rows of `table.py`."""

import math
from collections.abc import Callable
from typing import Any

from sfumato.core.discrete import DiscreteSpacing
from sfumato.core.parameterization import EpsPrediction, Parameterization, VPrediction, X0Prediction
from sfumato.core.schedule import Betas, Cosine, Linear, ScaledLinear, Sigmoid, Table, ZeroTerminal
from sfumato.errors import InputError
from sfumato.interop.diffusers.schedulers.entries import (
    Arguments,
    Option,
    OptionEntry,
    Values,
    arguments_of,
    as_is,
    choice,
)
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler

REMAINS = 2.0**-24
"""The alpha² that their solvers in sigma/alpha leave of a schedule that ends in pure noise."""
CAPPED = "squaredcos_cap_v2"
BETA_SCHEDULES = {"linear": Linear, "scaled_linear": ScaledLinear, CAPPED: Cosine, "sigmoid": Sigmoid}
PREDICTION_TYPES: dict[str, Parameterization] = {
    "epsilon": EpsPrediction(),
    "sample": X0Prediction(),
    "v_prediction": VPrediction(),
}
SIGMA_SHAPES = ("karras", "exponential", "beta")
"""Curves by which σ falls, as in `use_karras_sigmas`."""


def betas(
    start: float = 0.0001, end: float = 0.02, schedule: str = "linear", zero_snr: float | None = None
) -> OptionEntry:
    """The table of betas, with its defaults; `zero_snr` is the alpha² that `rescale_betas_zero_snr` leaves at the last
    time, None where a class has no such option."""
    options = {
        "num_train_timesteps": 1000,
        "beta_start": start,
        "beta_end": end,
        "beta_schedule": Option(schedule, tuple(BETA_SCHEDULES)),
        "trained_betas": Option(None, kind=list),
    }
    options |= {} if zero_snr is None else {"rescale_betas_zero_snr": False}

    def read(values: Values) -> Arguments:
        if values.get("rescale_betas_zero_snr"):
            return {"schedule": ZeroTerminal(_table(values), zero_snr or 0.0)}
        return {"schedule": _table(values)}

    return OptionEntry(options, read, _write_betas)


def _table(values: Values) -> Table:
    if values["trained_betas"] is not None:
        return Betas(tuple(float(beta) for beta in values["trained_betas"]))
    if values["beta_schedule"] == CAPPED:
        return Cosine(values["num_train_timesteps"])
    kind = BETA_SCHEDULES[values["beta_schedule"]]
    return kind(values["num_train_timesteps"], float(values["beta_start"]), float(values["beta_end"]))


def _write_betas(scheduler: Scheduler) -> dict[str, Any]:
    table, config = scheduler.schedule, {}
    if isinstance(table, ZeroTerminal):
        table, config = table.table, {"rescale_betas_zero_snr": True}
    names = [name for name, kind in BETA_SCHEDULES.items() if type(table) is kind]
    if not names and not isinstance(table, Betas):
        raise InputError(f"diffusers has no schedule like {table}: give its betas")
    own = {"beta_schedule": names[0]} if names else {"trained_betas": list(table.given)}  # pyright: ignore
    ends = {key: getattr(table, key) for key in ("beta_start", "beta_end") if hasattr(table, key)}
    return {"num_train_timesteps": table.T, **own, **ends, **config}


def prediction(*names: str) -> OptionEntry:
    """What the network predicts; `names` are all that a class knows, where they are not all."""
    known = {name: PREDICTION_TYPES[name] for name in names or PREDICTION_TYPES}
    entry = choice("prediction_type", "epsilon", "parameterization", known)

    def write(scheduler: Scheduler) -> dict[str, Any]:
        if (own := scheduler.parameterization) not in PREDICTION_TYPES.values():
            raise InputError(f"diffusers' schedulers know networks that predict eps, x0 or v, not {own}")
        return entry.write(scheduler)

    return OptionEntry(entry.options, entry.read, write)


# Times and σ ----------------------------------------------------------------------------------------------------------


def times(spacing: str = "leading", sigmas: bool = False) -> OptionEntry:
    """The times, by `spacing` where nothing else is asked for. Solvers in σ = sigma/alpha (`sigmas`) start from the
    noise alone, as k-diffusion's do, but for leading times."""
    known = ("leading", "trailing", "linspace")

    def read(values: Values) -> Arguments:
        leading = (kind := values["timestep_spacing"]) == "leading"
        start = {"spacing.initial_std": "marginal" if leading else "sigma"} if sigmas else {}
        return {
            "spacing.timestep_spacing": kind,
            "spacing.steps_offset": values["steps_offset"] if leading else 0,
            **start,
        }

    ours = {"timestep_spacing": "spacing.timestep_spacing", "steps_offset": "spacing.steps_offset"}
    options = {"timestep_spacing": Option(spacing, known), "steps_offset": 0}
    return OptionEntry(options, read, lambda scheduler: arguments_of(scheduler, ours))


def sigma_shape(rounds: Callable[[Values], bool] | None = None, lu: bool = False) -> OptionEntry:
    """The curve by which σ falls, if it is not the table's. The network receives the time at which the table has that
    σ, rounded or, where it does not `rounds`, cut to a whole one; as it is without `rounds`. `lu`: also in steps of
    equal λ."""
    options = dict.fromkeys([f"use_{shape}_sigmas" for shape in SIGMA_SHAPES] + ["use_lu_lambdas"] * lu, False)

    def read(values: Values) -> Arguments:
        shape = "exponential" if _lu(values) else _shape_of(values)
        whole = (
            {}
            if rounds is None or shape == "table"
            else {"spacing.time_input": "rounded" if rounds(values) else "floor"}
        )
        return {"spacing.sigmas": shape, **whole}

    def write(scheduler: Scheduler) -> dict[str, Any]:
        spacing = scheduler.spacing
        if not isinstance(spacing, DiscreteSpacing) or spacing.sigmas == "table":
            return {}
        in_λ = lu and (spacing.sigmas, spacing.time_input) == ("exponential", "rounded")
        return {"use_lu_lambdas" if in_λ else f"use_{spacing.sigmas}_sigmas": True}

    return OptionEntry(options, read, write)


def _shape_of(values: Values) -> str:
    """The curve by which σ falls: one of `SIGMA_SHAPES`, or "table"."""
    wanted = [shape for shape in SIGMA_SHAPES if values.get(f"use_{shape}_sigmas")]
    if len(wanted) > 1:
        raise InputError(f"σ can fall by one curve, not by {' and '.join(wanted)}")
    return wanted[0] if wanted else "table"


def _lu(values: Values) -> bool:
    return bool(values.get("use_lu_lambdas")) and not values["use_karras_sigmas"]


def dpm_rounds(values: Values) -> bool:
    """Whether DPM-Solver rounds the times that its network receives."""
    return (values["use_karras_sigmas"] or _lu(values)) and values["beta_schedule"] != CAPPED


_ENDS = {"sigma_min": "spacing.sigma_min", "sigma_max": "spacing.sigma_max"}
SIGMA_ENDS = OptionEntry(
    dict.fromkeys(_ENDS, Option(None, kind=float)),
    lambda values: {
        ours: float(values[key])
        for key, ours in _ENDS.items()
        if values[key] is not None and _shape_of(values) != "table"
    },
    lambda scheduler: arguments_of(scheduler, _ENDS),
)
"""The ends of σ, which count where it falls by a curve between them."""
FINAL_SIGMAS = as_is("final_sigmas_type", "zero", "spacing.final_sigma", "zero", "sigma_min")


def set_alpha_to_one(default: bool) -> OptionEntry:
    return choice("set_alpha_to_one", default, "spacing.final_sigma", {True: "zero", False: "sigma_min"})


def _read_interpolation(values: Values) -> Arguments:
    if values["interpolation_type"] == "linear":
        return {}
    if _shape_of(values) == "table":
        raise InputError("interpolation_type log_linear gives the network other times than it visits: it is not done")
    return {"spacing.sigma_range": "table"}


def _write_interpolation(scheduler: Scheduler) -> dict[str, Any]:
    given = arguments_of(scheduler, {"sigmas": "spacing.sigmas", "range": "spacing.sigma_range"})
    by_table = given.get("sigmas", "table") != "table" and given.get("range") == "table"
    return {"interpolation_type": "log_linear"} if by_table else {}


INTERPOLATION = OptionEntry(
    {"interpolation_type": Option("linear", ("linear", "log_linear"))}, _read_interpolation, _write_interpolation
)
"""How σ lies between times; "log_linear" is done where it falls by a curve, between the ends of the table."""


def _read_least_λ(values: Values) -> Arguments:
    least = values["lambda_min_clipped"]
    if least is None or not math.isfinite(least):
        return {}
    if values.get("timestep_spacing") == "trailing":
        raise InputError("lambda_min_clipped with trailing times gives another number of steps than asked for")
    schedule = betas(zero_snr=REMAINS).read(values)["schedule"]
    return {"spacing.num_timesteps": int((schedule.logsnr / 2 >= least).sum())}


def _write_least_λ(scheduler: Scheduler) -> dict[str, Any]:
    most, schedule = getattr(scheduler.spacing, "num_timesteps", None), scheduler.schedule
    if most is None or not isinstance(schedule, Table) or not 0 < most < schedule.T:
        return {}
    return {"lambda_min_clipped": float(schedule.logsnr[most - 1 : most + 1].mean() / 2)}  # between two times


LAMBDA_MIN_CLIPPED = OptionEntry({"lambda_min_clipped": -math.inf}, _read_least_λ, _write_least_λ)
"""The least λ = log(alpha/sigma) at a time that is visited."""
