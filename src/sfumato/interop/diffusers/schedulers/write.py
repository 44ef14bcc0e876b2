"""From how we draw to the `scheduler_config.json` with which diffusers draws so."""

from typing import Any

from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing
from sfumato.core.grid import (
    KarrasSpacing,
    LeadingSpacing,
    LogSNRSpacing,
    Spacing,
    TrailingSpacing,
    UniformSpacing,
    levels,
)
from sfumato.core.parameterization import EDMPreconditioning, FlowPrediction, Parameterization
from sfumato.core.schedule import EDM, Betas, Cosine, Linear, ScaledLinear, Schedule, Sigmoid, Table, ZeroTerminal
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.errors import InputError
from sfumato.interop.diffusers.schedulers.read import PREDICTIONS, UNBOUNDED, Drawing, read
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


def write(drawing: Drawing) -> dict[str, Any]:
    """The `scheduler_config.json` with which diffusers draws so.

    What is written is read again and compared, in its parts and in every level visited: an `InputError` names what has
    no equal there. Where only the scale of the first noise differs (their solvers in sigma/alpha start from the noise
    alone) it is let pass.
    """
    config = _proposed(drawing)
    back = read(config, exact=isinstance(drawing.sampler, DPMSolver) and drawing.sampler.halved)
    for part in ("schedule", "parameterization", "sampler", "thresholding"):
        ours, theirs = getattr(drawing, part), getattr(back, part)
        if ours != theirs:
            raise InputError(f"diffusers has no {part} {ours!r} with this sampler; the nearest there is {theirs!r}")
    here, there = (levels(one.schedule, one.spacing, drawing.steps) for one in (drawing, back))
    apart = max(
        max(abs(float(a) - float(b)) for a, b in zip(one, other, strict=True))
        for one, other in zip(here, there, strict=True)
    )
    if not apart < 1e-6:
        raise InputError(
            f"diffusers' {config['_class_name']} cannot visit the levels of {drawing.spacing}: take a discrete spacing"
        )
    return config


def _proposed(drawing: Drawing) -> dict[str, Any]:
    """The configuration most like `drawing`."""
    sampler, schedule = drawing.sampler, drawing.schedule
    config: dict[str, Any] = {"_class_name": _class_of(sampler, schedule)}
    if isinstance(schedule, EDM):
        config |= {"sigma_min": schedule.sigma_min, "sigma_max": schedule.sigma_max}
        config |= {"sigma_schedule": "exponential" if isinstance(drawing.spacing, LogSNRSpacing) else "karras"}
        config |= {"rho": drawing.spacing.rho} if isinstance(drawing.spacing, KarrasSpacing) else {}
        if isinstance(drawing.parameterization, EDMPreconditioning):
            config["sigma_data"] = drawing.parameterization.sigma_data
    elif isinstance(schedule, FlowSchedule):
        T = drawing.parameterization.scale if isinstance(drawing.parameterization, FlowPrediction) else 1.0
        T = T if T > 1 else 1000.0  # theirs tell the network sigma, T times
        return config | {"num_train_timesteps": int(T), "shift": schedule.shift}
    else:
        config |= _betas_of(schedule) | _times_of(drawing.spacing, sampler)
        config |= {"prediction_type": _prediction_of(drawing.parameterization)}
    return config | _solver_of(sampler) | _held(drawing)


def _class_of(sampler: Sampler[Any], schedule: Schedule) -> str:
    if isinstance(schedule, EDM):
        classes: dict[type, str] = {Euler: "EDMEulerScheduler", DPMSolver: "EDMDPMSolverMultistepScheduler"}
    elif isinstance(schedule, FlowSchedule):
        classes = {Euler: "FlowMatchEulerDiscreteScheduler"}
    elif isinstance(schedule, Table):
        classes = {
            Ancestral: "DDPMScheduler",
            DDIM: "DDIMScheduler",
            PLMS: "PNDMScheduler",
            LMS: "LMSDiscreteScheduler",
            Euler: "EulerDiscreteScheduler",
            EulerAncestral: "EulerAncestralDiscreteScheduler",
            Heun: "HeunDiscreteScheduler",
            DPMSolver: "DPMSolverMultistepScheduler",
            DPMSolverPairs: "DPMSolverSinglestepScheduler",
            UniPC: "UniPCMultistepScheduler",
            LCM: "LCMScheduler",
        }
    else:
        raise InputError(f"diffusers has no schedule like {schedule}")
    if type(sampler) not in classes:
        raise InputError(f"diffusers has no {sampler} on this schedule: take {', '.join(c.__name__ for c in classes)}")
    return classes[type(sampler)]


def _betas_of(schedule: Schedule) -> dict[str, Any]:
    zero = {"rescale_betas_zero_snr": True} if isinstance(schedule, ZeroTerminal) else {}
    table = schedule.of if isinstance(schedule, ZeroTerminal) else schedule
    named = {Linear: "linear", ScaledLinear: "scaled_linear", Sigmoid: "sigmoid"}
    if isinstance(table, Linear | ScaledLinear | Sigmoid) and type(table) in named:
        ends = {"beta_start": table.beta_start, "beta_end": table.beta_end}
        return {"num_train_timesteps": table.T, "beta_schedule": named[type(table)], **ends, **zero}
    if isinstance(table, Cosine):
        return {"num_train_timesteps": table.T, "beta_schedule": "squaredcos_cap_v2", **zero}
    if isinstance(table, Betas):
        return {"num_train_timesteps": table.T, "trained_betas": list(table.given), **zero}
    raise InputError(f"diffusers has no schedule like {table}: give its betas")


def _prediction_of(parameterization: Parameterization) -> str:
    for name, known in PREDICTIONS.items():
        if parameterization == known:
            return name
    raise InputError(f"diffusers' schedulers know networks that predict eps, x0 or v, not {parameterization}")


def _times_of(spacing: Spacing, sampler: Sampler[Any]) -> dict[str, Any]:
    if isinstance(spacing, DistilledSpacing):
        return {"original_inference_steps": spacing.of}
    clean = {"set_alpha_to_one": True} if type(sampler) in (DDIM, PLMS) else {}
    if isinstance(spacing, LeadingSpacing | TrailingSpacing | UniformSpacing):
        names = {LeadingSpacing: "leading", TrailingSpacing: "trailing", UniformSpacing: "linspace"}
        return {"timestep_spacing": names[type(spacing)], "steps_offset": 0, **clean}
    if not isinstance(spacing, DiscreteSpacing):
        raise InputError(f"diffusers has no spacing like {spacing} on a table: take leading, trailing or discrete")
    said: dict[str, Any] = {"timestep_spacing": spacing.timestep_spacing, "steps_offset": spacing.steps_offset}
    if spacing.sigmas != "table":
        said[f"use_{spacing.sigmas}_sigmas"] = True
    said |= {key: end for key in ("sigma_min", "sigma_max") if (end := getattr(spacing, key)) is not None}
    if type(sampler) in (DDIM, PLMS):
        return said | {"set_alpha_to_one": spacing.final_sigma == "zero"}
    if isinstance(sampler, DPMSolver) and spacing.sigmas == "exponential" and spacing.time_input == "rounded":
        said |= {"use_exponential_sigmas": False, "use_lu_lambdas": True}
    if isinstance(sampler, Euler) and spacing.sigmas != "table" and spacing.sigma_range == "table":
        said |= {"interpolation_type": "log_linear"}
    return said | ({"final_sigmas_type": "sigma_min"} if spacing.final_sigma == "sigma_min" else {})


def _solver_of(sampler: Sampler[Any]) -> dict[str, Any]:
    match sampler:
        case Ancestral():
            return {
                "variance_type": {"large": "fixed_large", "learned": "learned_range"}.get(
                    sampler.variance, "fixed_small"
                )
            }
        case PLMS():
            return {"skip_prk_steps": True}
        case DPMSolver():
            orders = {"solver_order": sampler.order, "lower_order_final": sampler.lower_final}
            return {**orders, "euler_at_final": sampler.euler_final, **_dpm_of(sampler)}
        case DPMSolverPairs():
            return {"solver_order": 2, "lower_order_final": sampler.lower_final, **_dpm_of(sampler)}
        case UniPC():
            said = {"solver_order": sampler.order, "solver_type": sampler.b, "lower_order_final": sampler.lower_final}
            return {**said, "disable_corrector": list(sampler.uncorrected)}
        case LCM():
            return {"timestep_scaling": sampler.scaling}
        case _:
            return {}


def _dpm_of(sampler: DPMSolver | DPMSolverPairs) -> dict[str, Any]:
    algorithm = "sde-dpmsolver++" if sampler.eta == 1 else "dpmsolver++"
    return {"algorithm_type": algorithm, "solver_type": sampler.form}


def _held(drawing: Drawing) -> dict[str, Any]:
    """What keeps the estimate of x_0 where data can be."""
    thresholding = drawing.thresholding
    if thresholding.ratio is not None:
        return {
            "thresholding": True,
            "dynamic_thresholding_ratio": thresholding.ratio,
            "sample_max_value": UNBOUNDED if thresholding.limit is None else thresholding.limit,
        }
    if thresholding.limit is not None:
        return {"clip_sample": True, "clip_sample_range": thresholding.limit}
    return {"clip_sample": False} if type(drawing.sampler) in (Ancestral, DDIM, Heun, LCM) else {}
