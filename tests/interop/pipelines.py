"""Small checkpoints of each family, with random weights, made by the classes of diffusers and transformers."""

import inspect
import json
from pathlib import Path
from typing import Any

import torch


def randomized(module: torch.nn.Module, seed: int, scale: float = 1.0) -> Any:
    """The module with all its weights random, none at the zero or one that it would start from."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            spread = scale / max(parameter[0].numel(), 1) ** 0.5 if parameter.ndim > 1 else 0.3 * scale
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread + (parameter.ndim == 1) * 0.5)
    return module.eval()


def tokenizer(folder: Path) -> Any:
    """A small CLIP tokenizer, of letters and a few words."""
    from transformers import CLIPTokenizer

    letters = [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
    merges = ["c a", "ca t</w>", "i n</w>", "h a", "ha t</w>"]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        model_max_length=77,
        pad_token="<|endoftext|>",
    )


def text_config(seed: int, width: int = 16, **more: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=59,
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=58,
        bos_token_id=57,
        pad_token_id=58,
        **more,
    )


def kl(seed: int = 1, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return randomized(
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
            up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
            block_out_channels=(16, 32),
            norm_num_groups=8,
            **more,
        ),
        seed,
    )


def conditional(seed: int = 2, **more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "layers_per_block": 1,
        "norm_num_groups": 8,
    }
    return randomized(UNet2DConditionModel(**{**settings, **more}), seed)


SD_BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def pndm(**more: Any) -> Any:
    from diffusers import PNDMScheduler

    return PNDMScheduler(skip_prk_steps=True, steps_offset=1, **SD_BETAS, **more)


def stable_diffusion(folder: Path, **unet: Any) -> Any:
    """Stable Diffusion 1; `unet` changes its network."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    return StableDiffusionPipeline(
        vae=kl(),
        text_encoder=randomized(CLIPTextModel(text_config(0)), 3),
        tokenizer=tokenizer(folder / "words"),
        unet=conditional(**unet),
        scheduler=pndm(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_2(folder: Path) -> Any:
    """Stable Diffusion 2: v, linear projections, heads by level, gelu."""
    from diffusers import DDIMScheduler

    pipe = stable_diffusion(folder, use_linear_projection=True, attention_head_dim=(2, 4))
    from transformers import CLIPTextModel

    text = randomized(CLIPTextModel(text_config(0, hidden_act="gelu")), 4)
    scheduler = DDIMScheduler(
        prediction_type="v_prediction", set_alpha_to_one=False, steps_offset=1, clip_sample=False, **SD_BETAS
    )
    return type(pipe)(
        **{**pipe.components, "text_encoder": text, "scheduler": scheduler}, requires_safety_checker=False
    )


def inpainting(folder: Path) -> Any:
    """Stable Diffusion 1, painting within a picture."""
    from diffusers import StableDiffusionInpaintPipeline

    pipe = stable_diffusion(folder, in_channels=9)
    return StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False)


def xl(folder: Path, refiner: bool = False) -> Any:
    """Stable Diffusion XL, or its refiner."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    one = randomized(CLIPTextModel(text_config(0)), 3)
    two = randomized(CLIPTextModelWithProjection(text_config(0, hidden_act="gelu", projection_dim=12)), 5)
    unet = conditional(
        cross_attention_dim=16 if refiner else 32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=12 + 8 * (5 if refiner else 6),
    )
    scheduler = EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1, **SD_BETAS)
    parts: dict[str, Any] = {
        "vae": kl(scaling_factor=0.13025),
        "text_encoder_2": two,
        "tokenizer_2": tokenizer(folder / "words2"),
        "unet": unet,
        "scheduler": scheduler,
    }
    if refiner:
        return StableDiffusionXLImg2ImgPipeline(
            **parts, text_encoder=None, tokenizer=None, requires_aesthetics_score=True, add_watermarker=False
        )
    words = tokenizer(folder / "words")
    return StableDiffusionXLPipeline(**parts, text_encoder=one, tokenizer=words, add_watermarker=False)


def pixels(**more: Any) -> Any:
    """The network of an unconditional DDPM."""
    from diffusers import UNet2DModel

    settings: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": None,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "downsample_padding": 0,
        "norm_eps": 1e-6,
    }
    return randomized(UNet2DModel(**{**settings, **more}), 6)


def ddpm() -> Any:
    from diffusers import DDPMPipeline, DDPMScheduler

    return DDPMPipeline(unet=pixels(), scheduler=DDPMScheduler(variance_type="fixed_large"))


def latent_unconditional(kind: str) -> Any:
    """Unconditional latent diffusion: "vq" or "kl"."""
    from diffusers import DDIMScheduler, LDMPipeline, VQModel

    vqvae = kl()
    if kind == "vq":
        vqvae = randomized(
            VQModel(
                down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
                up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
                block_out_channels=(16, 32),
                norm_num_groups=8,
                num_vq_embeddings=32,
            ),
            7,
        )
    channels = vqvae.config.latent_channels
    unet = pixels(in_channels=channels, out_channels=channels, sample_size=8)
    return LDMPipeline(vqvae=vqvae, unet=unet, scheduler=DDIMScheduler(clip_sample=False))


def dit() -> Any:
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    network = randomized(
        DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=8,
            num_embeds_ada_norm=1000,  # their pipeline takes 1000 for no class
        ),
        8,
    )
    first = network.transformer_blocks[0].norm1.emb.state_dict()
    for block in network.transformer_blocks:
        block.norm1.emb.load_state_dict(first)
    return DiTPipeline(network, kl(), DDIMScheduler(clip_sample=False))


@torch.no_grad()
def by_hand(pipe: Any, scheduler: Any, steps: int, seed: int) -> torch.Tensor:
    """A picture [1, c, h, w] in [0, 1] of a pipeline without text, by the loop that diffusers' documentation shows.

    Their own pipelines are made for their first schedulers: they scale the first noise before its steps are known, or
    not at all, and draw later noise from elsewhere.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    network = getattr(pipe, "transformer", None) or pipe.unet
    codec = getattr(pipe, "vae", None) or getattr(pipe, "vqvae", None)
    side, channels = network.config.sample_size, network.config.in_channels
    scheduler.set_timesteps(steps)
    x = torch.randn(1, channels, side, side, generator=generator) * scheduler.init_noise_sigma
    more: dict[str, Any] = {"class_labels": torch.tensor([1])} if hasattr(pipe, "transformer") else {}
    takes = inspect.signature(scheduler.step).parameters
    noise = {"generator": generator} if "generator" in takes else {}
    for t in scheduler.timesteps:
        time = t.reshape(1) if more else t
        out = network(scheduler.scale_model_input(x, t), time, **more).sample[:, :channels]
        x = scheduler.step(out, t, x, **noise).prev_sample
    x = x if codec is None else codec.decode(x / codec.config.scaling_factor).sample
    return (x / 2 + 0.5).clamp(0, 1)
