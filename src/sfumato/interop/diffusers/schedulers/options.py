"""What diffusers' schedulers may be told: the defaults of each class, and what of each option we do."""

import math
from collections.abc import Mapping
from typing import Any

from sfumato.errors import FormatError, nearest, quoted

MOST_LISTED = 10_000
"""The most numbers that an option may list."""

BETAS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
}
TIMES: dict[str, Any] = {"timestep_spacing": "leading", "steps_offset": 0}
SHAPES: dict[str, Any] = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
CLIP: dict[str, Any] = {"clip_sample": True, "clip_sample_range": 1.0}
THRESHOLD: dict[str, Any] = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
FLOW: dict[str, Any] = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
SIGMAS: dict[str, Any] = {**BETAS, **TIMES, **SHAPES, "timestep_spacing": "linspace", "prediction_type": "epsilon"}
DPM: dict[str, Any] = {
    **BETAS,
    **SHAPES,
    **THRESHOLD,
    **FLOW,
    "solver_order": 2,
    "prediction_type": "epsilon",
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "final_sigmas_type": "zero",
    "lambda_min_clipped": -math.inf,
    "variance_type": None,
}
EDM: dict[str, Any] = {
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "sigma_schedule": "karras",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "rho": 7.0,
    "final_sigmas_type": "zero",
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "DDPMScheduler": {
        **BETAS,
        **TIMES,
        **CLIP,
        **THRESHOLD,
        "prediction_type": "epsilon",
        "variance_type": "fixed_small",
        "rescale_betas_zero_snr": False,
    },
    "DDIMScheduler": {
        **BETAS,
        **TIMES,
        **CLIP,
        **THRESHOLD,
        "prediction_type": "epsilon",
        "set_alpha_to_one": True,
        "rescale_betas_zero_snr": False,
    },
    "PNDMScheduler": {
        **BETAS,
        **TIMES,
        "prediction_type": "epsilon",
        "skip_prk_steps": False,
        "set_alpha_to_one": False,
    },
    "LMSDiscreteScheduler": SIGMAS,
    "EulerDiscreteScheduler": {
        **SIGMAS,
        "interpolation_type": "linear",
        "sigma_min": None,
        "sigma_max": None,
        "timestep_type": "discrete",
        "rescale_betas_zero_snr": False,
        "final_sigmas_type": "zero",
    },
    "EulerAncestralDiscreteScheduler": {
        **BETAS,
        **TIMES,
        "timestep_spacing": "linspace",
        "prediction_type": "epsilon",
        "rescale_betas_zero_snr": False,
    },
    "HeunDiscreteScheduler": {**SIGMAS, **CLIP, "clip_sample": False, "beta_start": 0.00085, "beta_end": 0.012},
    "DPMSolverMultistepScheduler": {
        **DPM,
        **TIMES,
        "timestep_spacing": "linspace",
        "lower_order_final": True,
        "euler_at_final": False,
        "use_lu_lambdas": False,
        "rescale_betas_zero_snr": False,
    },
    "DPMSolverSinglestepScheduler": {**DPM, "lower_order_final": False},
    "UniPCMultistepScheduler": {
        **SIGMAS,
        **THRESHOLD,
        **FLOW,
        "solver_order": 2,
        "predict_x0": True,
        "solver_type": "bh2",
        "lower_order_final": True,
        "disable_corrector": [],
        "solver_p": None,
        "final_sigmas_type": "zero",
        "rescale_betas_zero_snr": False,
        "sigma_min": None,
        "sigma_max": None,
        "shift_terminal": None,
    },
    "EDMEulerScheduler": EDM,
    "EDMDPMSolverMultistepScheduler": {
        **EDM,
        **THRESHOLD,
        "solver_order": 2,
        "algorithm_type": "dpmsolver++",
        "solver_type": "midpoint",
        "lower_order_final": True,
        "euler_at_final": False,
    },
    "FlowMatchEulerDiscreteScheduler": {
        **SHAPES,
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "use_dynamic_shifting": False,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
        "invert_sigmas": False,
        "shift_terminal": None,
        "time_shift_type": "exponential",
        "stochastic_sampling": False,
    },
    "LCMScheduler": {
        **BETAS,
        **TIMES,
        **CLIP,
        **THRESHOLD,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "original_inference_steps": 50,
        "clip_sample": False,
        "set_alpha_to_one": True,
        "prediction_type": "epsilon",
        "timestep_scaling": 10.0,
        "rescale_betas_zero_snr": False,
    },
}
"""What each class takes, and what it takes where nothing is said."""

KNOWN = {option for options in DEFAULTS.values() for option in options}
"""Tools write the options of one class into the configuration of another: such are passed over, and others are not."""

OLD: dict[str, tuple[Any, ...]] = {"tensor_format": ("pt", "np"), "predict_epsilon": (True,)}
"""Options of diffusers 0.1 to 0.9, and what of them changes nothing. Any that is null says nothing, and turns off what
it may turn on, as in their code."""

DONE: dict[str, tuple[Any, ...]] = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"),
    "prediction_type": ("epsilon", "sample", "v_prediction"),
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "learned_range"),
    "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),
    "solver_type": ("midpoint", "heun"),
    "solver_order": (1, 2, 3),
    "final_sigmas_type": ("zero", "sigma_min"),
    "interpolation_type": ("linear", "log_linear"),
    "timestep_type": ("discrete",),
    "skip_prk_steps": (True,),
    "predict_x0": (True,),
    "solver_p": (None,),
    "use_flow_sigmas": (False,),
    "use_dynamic_shifting": (False,),
    "shift_terminal": (None,),
    "invert_sigmas": (False,),
    "stochastic_sampling": (False,),
    "sigma_schedule": ("karras", "exponential"),
}
"""What we do of an option, where that is not all."""
VARIANCES = (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range")
OF_CLASS: dict[tuple[str, str], tuple[Any, ...]] = {
    ("PNDMScheduler", "prediction_type"): ("epsilon", "v_prediction"),
    # of these, two take the variance off what a network gives, and the others mean nothing to a solver
    ("DPMSolverMultistepScheduler", "variance_type"): VARIANCES,
    ("DPMSolverSinglestepScheduler", "variance_type"): VARIANCES,
    ("DPMSolverSinglestepScheduler", "solver_order"): (1, 2),
    ("UniPCMultistepScheduler", "solver_type"): ("bh1", "bh2"),
    ("EDMEulerScheduler", "prediction_type"): ("epsilon",),
    ("EDMDPMSolverMultistepScheduler", "prediction_type"): ("epsilon",),
    ("EDMEulerScheduler", "final_sigmas_type"): ("zero",),
    ("EDMDPMSolverMultistepScheduler", "final_sigmas_type"): ("zero",),
    **{
        ("FlowMatchEulerDiscreteScheduler", shape): (False,)
        for shape in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
    },
}
"""The same, where a class has its own."""


def read_options(config: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """The class that `config` names, and all its options with their defaults.

    Raises `FormatError`, speaking of `name`, for a class, an option or a value that we do not know.
    """
    kind = config.get("_class_name")
    if not isinstance(kind, str) or kind not in DEFAULTS:
        raise FormatError(
            f"{name} asks for the scheduler {quoted(kind)}, which is not done here; {nearest(str(kind), DEFAULTS)}"
        )
    options = dict(DEFAULTS[kind])
    for option, value in config.items():
        if option.startswith("_") or (option not in KNOWN and (value is None or value in OLD.get(option, ()))):
            continue
        if option not in KNOWN:
            raise FormatError(f"{name}: there is no option {quoted(option)} of schedulers; {nearest(option, KNOWN)}")
        if option in options:
            flag = isinstance(options[option], bool) and value is None
            options[option] = False if flag else value
    for option, value in options.items():
        _check(kind, option, value, name)
    return kind, options


def _check(kind: str, option: str, value: Any, name: str) -> None:
    done = OF_CLASS.get((kind, option), DONE.get(option))
    if done is not None:
        if not any(value == one and type(value) is type(one) for one in done):
            known = ", ".join(repr(one) for one in done)
            raise FormatError(f"{name}: the {option} of a {kind} can be {known} here, not {quoted(value)}")
        return
    default = DEFAULTS[kind][option]
    optional = default is None or option == "lambda_min_clipped"
    if value is None and optional:
        return
    if option in ("trained_betas", "disable_corrector"):
        fits = isinstance(value, list) and len(value) <= MOST_LISTED and all(_number(one) for one in value)
        wanted = f"a list of numbers, {MOST_LISTED:,} at most"
    elif isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, str):
        fits, wanted = isinstance(value, str), "a word"
    else:
        fits, wanted = _number(value) and value == value, "a number"
    if not fits:
        raise FormatError(f"{name}: the {option} of a {kind} must be {wanted}, not {quoted(value)}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
