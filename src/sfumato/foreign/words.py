"""What other tools call the arguments of a drawing, and which of ours each is. No library is imported here, so that the
command line may read it."""

from typing import NamedTuple


class ForeignWord(NamedTuple):
    """An argument of another tool. `here` is ours that means the same; where none does, `instead` is what to do, with
    the value that was given in the place of `{value}`."""

    name: str
    tool: str
    here: str = ""
    instead: str = ""


_STREAM = "draw step by step: for frame in system.stream(…)"
_TO_PAINT = "pictures are painted within, by condition=MaskedImage('photo.png', 'mask.png')"
_ONLY_NOISE = "every drawing starts from noise; there is no strength"
_SETTING = "it is a setting of the sampler: sampler='euler,churn=0.3,noise_scale=1'"
_MANY = "each sample has a seed: seeds=range({value}); how many are drawn at once is batch={value}"

_ACCEPTED = (
    ("seed", "A1111, ComfyUI, InvokeAI", "seeds"),
    ("num_images_per_prompt", "diffusers", "seeds"),
    ("num_images", "InvokeAI, SwarmUI", "seeds"),
    ("n_samples", "latent diffusion", "seeds"),
    ("n", "OpenAI", "seeds"),
    ("num_inference_steps", "diffusers", "steps"),
    ("ddim_steps", "latent diffusion", "steps"),
    ("num_steps", "EDM", "steps"),
    ("guidance_scale", "diffusers", "guidance"),
    ("cfg", "ComfyUI", "guidance"),
    ("cfg_scale", "A1111, InvokeAI", "guidance"),
    ("guidance_rescale", "diffusers", "rescale"),
    ("negative_prompt", "diffusers, A1111, InvokeAI", "negative"),
    ("height", "diffusers, A1111, ComfyUI, InvokeAI", "size"),
    ("width", "diffusers, A1111, ComfyUI, InvokeAI", "size"),
    ("sampler_name", "A1111, ComfyUI", "sampler"),
    ("sampler_index", "A1111", "sampler"),
    ("schedule_type", "A1111", "spacing"),
    ("class_labels", "diffusers", "prompt"),
)
_REFUSED = (
    ("generator", "diffusers", "noise belongs to a sample and not to a call: seeds=[{value}]"),
    ("latents", "diffusers", "the first noise is that of a seed: seeds=[7]"),
    ("batch_size", "diffusers, A1111, ComfyUI", _MANY),
    ("n_iter", "A1111", _MANY),
    ("eta", "diffusers, A1111", "it is a setting of the sampler: sampler='ddim,eta={value}'"),
    ("s_churn", "k-diffusion, A1111", _SETTING),
    ("s_noise", "k-diffusion, A1111", _SETTING),
    ("timesteps", "diffusers", "they are a spacing: spacing=ExplicitSpacing((999, 749, 499, 249)), steps=4"),
    ("sigmas", "k-diffusion, diffusers", "levels are laid by a spacing: spacing='karras'"),
    ("strength", "diffusers", _ONLY_NOISE),
    ("denoising_strength", "A1111", _ONLY_NOISE),
    ("denoise", "ComfyUI", _ONLY_NOISE),
    ("image", "diffusers", _TO_PAINT),
    ("init_image", "diffusers", _TO_PAINT),
    ("mask_image", "diffusers", _TO_PAINT),
    ("prompt_2", "diffusers", "one prompt is read by all text encoders: leave it out"),
    ("clip_skip", "A1111, diffusers", "it belongs to a system's conditioner: leave it out"),
    ("prompt_embeds", "diffusers", "give the prompt as text; states go in condition=Condition(context=…)"),
    ("output_type", "diffusers", "samples are tensors and pictures: .data, .images(), .preview()"),
    ("return_dict", "diffusers", "what is given is always Samples: leave it out"),
    ("callback", "diffusers, k-diffusion", _STREAM),
    ("callback_on_step_end", "diffusers", _STREAM),
)

_SCHEDULER = ForeignWord(
    "scheduler", "ComfyUI, InvokeAI, diffusers", "sampler or spacing", "they are two: sampler='dpm++', spacing='karras'"
)
DRAWING_WORDS: dict[str, ForeignWord] = {
    word.name: word
    for word in (
        *(ForeignWord(name, tool, here) for name, tool, here in _ACCEPTED),
        _SCHEDULER,
        *(ForeignWord(name, tool, instead=instead) for name, tool, instead in _REFUSED),
    )
}
"""By the name there."""
