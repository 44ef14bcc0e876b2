"""What other trainers call the keys of a recipe and the options of a training, and what they are here."""

from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.errors import InputError

_DIFFUSERS, _PHIL, _GUIDED, _K, _KOHYA = (
    "diffusers",
    "denoising-diffusion-pytorch",
    "guided-diffusion",
    "k-diffusion",
    "kohya's scripts",
)

_EPOCHS, _STEPS = "--epochs, passes over the data", "train.steps, or the option --steps"
_EMA = 'average, as in average={kind="constant",rate=0.9999}'
_MIN_SNR = 'loss.weight, as in loss={kind="denoising",weight={kind="min-snr",gamma=5}}'

FOREIGN: dict[str, tuple[str, str]] = {
    "lr": ("optimizer.learning_rate", _K),
    "train_lr": ("optimizer.learning_rate", _PHIL),
    "learning_rate": ("optimizer.learning_rate", _DIFFUSERS),
    "unet_lr": ("optimizer.learning_rate", _KOHYA),
    "lr_warmup_steps": ("optimizer.warmup", _DIFFUSERS),
    "warmup_steps": ("optimizer.warmup", _KOHYA),
    "lr_scheduler": ("optimizer.decay, from which step on the rate falls", _DIFFUSERS),
    "max_grad_norm": ("optimizer.clip", _DIFFUSERS),
    "adam_betas": ("optimizer.betas", _PHIL),
    "adam_beta1": ("the first of optimizer.betas", _DIFFUSERS),
    "adam_beta2": ("the second of optimizer.betas", _DIFFUSERS),
    "adam_weight_decay": ("optimizer.weight_decay", _DIFFUSERS),
    "batch_size": ("train.batch", _K),
    "train_batch_size": ("train.batch", _DIFFUSERS),
    "gradient_accumulation_steps": ("train.accumulate, the parts of one train.batch", _DIFFUSERS),
    "gradient_accumulate_every": ("train.accumulate, the parts of one train.batch", _PHIL),
    "grad_accum_steps": ("train.accumulate, the parts of one train.batch", _K),
    "epochs": (_EPOCHS, "most trainers"),
    "num_epochs": (_EPOCHS, _DIFFUSERS),
    "num_train_epochs": (_EPOCHS, _DIFFUSERS),
    "max_train_epochs": (_EPOCHS, _KOHYA),
    "max_train_steps": (_STEPS, _DIFFUSERS),
    "train_num_steps": (_STEPS, _PHIL),
    "max_steps": (_STEPS, "Lightning"),
    "checkpointing_steps": ("train.save_minutes", _DIFFUSERS),
    "save_interval": ("train.save_minutes", _GUIDED),
    "save_every": ("train.save_minutes", _K),
    "save_and_sample_every": ("train.save_minutes and train.show_minutes", _PHIL),
    "validation_steps": ("train.show_minutes", _DIFFUSERS),
    "validation_epochs": ("train.show_minutes", _DIFFUSERS),
    "mixed_precision": ("--precision, float32 or bfloat16", _DIFFUSERS),
    "amp": ("--precision, float32 or bfloat16", _PHIL),
    "use_fp16": ("--precision, float32 or bfloat16", _GUIDED),
    "ema_decay": (_EMA, _PHIL),
    "ema_rate": (_EMA, _GUIDED),
    "ema_max_decay": (_EMA, _DIFFUSERS),
    "use_ema": ("average, which is always kept", _DIFFUSERS),
    "image_size": ("data.size, as [64,64]", _PHIL),
    "resolution": ("data.size, as [64,64]", _DIFFUSERS),
    "random_flip": ("data.flip", _DIFFUSERS),
    "flip_aug": ("data.flip", _KOHYA),
    "augment_horizontal_flip": ("data.flip", _PHIL),
    "center_crop": ('data.fit, as "crop"', _DIFFUSERS),
    "class_cond": ('condition.kind, as "labels"', _GUIDED),
    "proportion_empty_prompts": ("condition.dropout", _DIFFUSERS),
    "cond_drop_prob": ("condition.dropout", _PHIL),
    "dim": ("network.width", _PHIL),
    "num_channels": ("network.width", _GUIDED),
    "model_channels": ("network.width", _GUIDED),
    "dim_mults": ("network.multipliers", _PHIL),
    "channel_mult": ("network.multipliers", _GUIDED),
    "block_out_channels": ("network.width and network.multipliers", _DIFFUSERS),
    "num_res_blocks": ("network.blocks", _GUIDED),
    "layers_per_block": ("network.blocks", _DIFFUSERS),
    "attention_resolutions": ("network.attention, levels counted from 0", _GUIDED),
    "timesteps": ("schedule.T", _PHIL),
    "diffusion_steps": ("schedule.T", _GUIDED),
    "num_train_timesteps": ("schedule.T", _DIFFUSERS),
    "ddpm_num_steps": ("schedule.T", _DIFFUSERS),
    "beta_schedule": ("schedule.kind", _DIFFUSERS),
    "ddpm_beta_schedule": ("schedule.kind", _DIFFUSERS),
    "noise_schedule": ("schedule.kind", _GUIDED),
    "objective": ("parameterization.kind, as eps, x0 or v", _PHIL),
    "prediction_type": ("parameterization.kind, as eps, x0 or v", _DIFFUSERS),
    "learn_sigma": ('variance, as "learned"', _GUIDED),
    "snr_gamma": (_MIN_SNR, _DIFFUSERS),
    "min_snr_gamma": (_MIN_SNR, _KOHYA),
    "sampling_timesteps": ("settings.steps", _PHIL),
    "num_inference_steps": ("settings.steps", _DIFFUSERS),
    "guidance_scale": ("settings.guidance", _DIFFUSERS),
    "cond_scale": ("settings.guidance", _PHIL),
    "pretrained_model_name_or_path": ("train.init_from", _DIFFUSERS),
    "output_dir": ("--out", _DIFFUSERS),
    "results_folder": ("--out", _PHIL),
    "resume_from_checkpoint": ("--resume", _DIFFUSERS),
    "train_data_dir": ("DATA, the first argument", _DIFFUSERS),
    "data_dir": ("DATA, the first argument", _GUIDED),
    "dataset_name": ("DATA, the first argument, as hub:OWNER/NAME", _DIFFUSERS),
}
"""Name there → (what it is here, where it is called so). No name of these means anything else in a recipe of ours."""


def answer(word: str) -> str | None:
    """What to say to a key or an option of another trainer; None for a word that none of them has."""
    name = word.lstrip("-").replace("-", "_")
    if name not in FOREIGN:
        return None
    ours, tool = FOREIGN[name]
    return f"'{name}' is what {tool} has; here it is {ours}"


def refuse_foreign(data: Mapping[str, Any]) -> None:
    """Raise an `InputError` for the first key in a recipe's tables that is another trainer's."""
    for path in _paths(data):
        own = FOREIGN.get(path[-1])
        if own is not None and own[0] != ".".join(path):
            raise InputError(f"{'.'.join(path)}: {answer(path[-1])}")


def _paths(data: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in data.items():
        yield (*above, str(key))
        if isinstance(value, Mapping):
            yield from _paths(value, (*above, str(key)))
