"""Small models in the layout of diffusers, with weights far from their start, and a vocabulary of a few tokens."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = ["t h", "th e</w>", "c a", "ca t</w>", "' s</w>", "h a", "ha t</w>", "! !</w>", "ð Ł", "i n</w>"]
LENGTH = 16


def vocabulary(merges: list[str] = MERGES) -> dict[str, int]:
    """The numbers of all tokens, in the order of CLIP: bytes, bytes that end a word, what is joined, special tokens."""
    ends = [f"{letter}</w>" for letter in LETTERS]
    return {token: i for i, token in enumerate([*LETTERS, *ends, *("".join(m.split()) for m in merges), START, END])}


def mark(content: str, normalized: bool = True) -> dict[str, Any]:
    flags = {"lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", "content": content, **flags}


def tokenizer_folder(folder: Path, pad: str = END, merges: list[str] = MERGES, length: int = LENGTH) -> Path:
    """A tokenizer as repositories of Stable Diffusion have it; `pad` is "!" in version 2 and in SDXL's second."""
    folder.mkdir(parents=True)
    config = {"bos_token": mark(START), "eos_token": mark(END), "pad_token": pad, "unk_token": mark(END)}
    config |= {"model_max_length": length, "tokenizer_class": "CLIPTokenizer", "add_prefix_space": False}
    special = {name: config[name] for name in ("pad_token", "bos_token", "eos_token", "unk_token")}
    special = {
        name: {k: v for k, v in value.items() if k != "__type"} if isinstance(value, dict) else value
        for name, value in special.items()
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary(merges)), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    return folder


def text_model(projection: int = 0, width: int = 16, act: str = "quick_gelu", end: int = 2, seed: int = 0) -> Any:
    """A text encoder of transformers; `end` 2 is what the configurations of Stable Diffusion say."""
    numbers = vocabulary()
    sizes: Any = {"hidden_size": width, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
    marks: Any = {"bos_token_id": numbers[START], "eos_token_id": end, "pad_token_id": 1}
    config = CLIPTextConfig(
        vocab_size=len(numbers),
        max_position_embeddings=LENGTH,
        hidden_act=act,
        projection_dim=projection or width,
        **sizes,
        **marks,
    )
    return stirred((CLIPTextModelWithProjection if projection else CLIPTextModel)(config), seed)


def stirred(model: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()
