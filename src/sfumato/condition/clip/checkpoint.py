"""CLIP's text encoder in the folders of transformers: its configuration, the names of its weights, its files."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sfumato import files
from sfumato.errors import FormatError, InputError, nearest, quoted
from sfumato.keys import Entry, check_state, fill, joined, layer, same
from sfumato.nn.text.clip_tower import ClipTower
from sfumato.store import MappedWeights, weight_files

PLAIN, PROJECTED = _CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")

SIZES = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "length": "max_position_embeddings",
}
DEFAULTS = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "max_position_embeddings": 77,
    "projection_dim": 512,
    "hidden_act": "quick_gelu",
    "eos_token_id": 49407,
}
"""What counts where a configuration is silent: the text encoder of ViT-B/32."""
ALWAYS = {
    "layer_norm_eps": 1e-5,
    "use_attention_mask": False,
    "model_type": "clip_text_model",
    "add_cross_attention": False,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "pruned_heads": {},
    "tie_encoder_decoder": False,
}
IDLE = (
    "architectures attention_dropout bos_token_id chunk_size_feed_forward dropout dtype gradient_checkpointing"
    " id2label initializer_factor initializer_range label2id output_attentions output_hidden_states pad_token_id"
    " return_dict tie_word_embeddings torch_dtype torchscript transformers_version use_bfloat16 use_cache"
    # of models that write texts, which older versions put into every configuration
    " bad_words_ids begin_suppress_tokens decoder_start_token_id diversity_penalty do_sample early_stopping"
    " encoder_no_repeat_ngram_size exponential_decay_length_penalty finetuning_task forced_bos_token_id"
    " forced_eos_token_id length_penalty max_length min_length no_repeat_ngram_size num_beam_groups num_beams"
    " num_return_sequences output_scores prefix problem_type remove_invalid_values repetition_penalty"
    " return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss"
    " tokenizer_class top_k top_p typical_p"
).split()
"""Keys that change nothing that is drawn."""
WHOLE_CLIP = ("logit_scale", "vision_model.", "visual_projection.")
"""What else is in a file of CLIP's both halves."""
HIGHEST = 2
"""The number of the end token in old configurations, which was wrong: the place of the highest number is meant."""


def read_config(config: Mapping[str, Any], name: str) -> ClipTower:
    """The text encoder that a config.json of transformers describes, on the current default device.

    Raises `FormatError`, speaking of `name`, for another class, an unknown key, or a value that cannot be.
    """
    kind = config.get("architectures")
    if not isinstance(kind, list) or len(kind) != 1 or kind[0] not in _CLASSES:
        raise FormatError(f"{name} is a {quoted(kind)}; text encoders that are read here: {', '.join(_CLASSES)}")
    known = {*DEFAULTS, *ALWAYS, *IDLE}
    if odd := sorted(key for key, value in config.items() if _is_odd(key, value, known)):
        known = nearest(odd[0], (*DEFAULTS, *ALWAYS))
        raise FormatError(f"{name} sets {quoted(odd[0])}, which is not known here; {known}")
    for key, value in ALWAYS.items():
        if (found := config.get(key)) not in (None, value):
            raise FormatError(f"{name}: {key} is {quoted(found)}, and only {value!r} is known here")
    options = DEFAULTS | dict(config)
    for key in (*SIZES.values(), "eos_token_id", *(["projection_dim"] if kind[0] == PROJECTED else [])):
        if type(options[key]) is not int:
            raise FormatError(f"{name}: {key} should be a whole number, not {quoted(options[key])}")
    if not isinstance(options["hidden_act"], str):
        raise FormatError(f"{name}: hidden_act should be a word, not {quoted(options['hidden_act'])}")
    try:
        return ClipTower(
            **{ours: options[theirs] for ours, theirs in SIZES.items()},
            activation=options["hidden_act"],
            projection=options["projection_dim"] if kind[0] == PROJECTED else 0,
            end=None if options["eos_token_id"] == HIGHEST else options["eos_token_id"],
        )
    except InputError as error:
        raise FormatError(f"{name}: {error}") from error


def _is_odd(key: str, value: Any, known: Collection[str]) -> bool:
    """Whether an option is none that is known, nor the tool's own note, and says something."""
    return value is not None and key not in known and not key.startswith("_")


def write_config(tower: ClipTower) -> dict[str, Any]:
    """The config.json that a class of transformers needs to be the same: `architectures` names the class."""
    return {
        "architectures": [PROJECTED if tower.projection else PLAIN],
        "model_type": ALWAYS["model_type"],
        **{theirs: getattr(tower, ours) for ours, theirs in SIZES.items()},
        "projection_dim": tower.pooled,
        "hidden_act": tower.activation,
        "layer_norm_eps": ALWAYS["layer_norm_eps"],
        "eos_token_id": HIGHEST if tower.end is None else tower.end,
    }


def clip_entries(tower: ClipTower) -> list[Entry]:
    """The names of its weights in transformers; the plain class has also written them without their prefix."""
    found = [
        same("words", "embeddings.token_embedding.weight"),
        same("places", "embeddings.position_embedding.weight"),
        *layer("norm", "final_layer_norm"),
    ]
    for index in range(tower.layers):
        ours, theirs = f"blocks.{index}", f"encoder.layers.{index}"
        found += [
            *joined(f"{ours}.query_key_value", [f"{theirs}.self_attn.{part}_proj" for part in "qkv"]),
            *layer(f"{ours}.out", f"{theirs}.self_attn.out_proj"),
            *layer(f"{ours}.norm1", f"{theirs}.layer_norm1"),
            *layer(f"{ours}.norm2", f"{theirs}.layer_norm2"),
            *layer(f"{ours}.widen", f"{theirs}.mlp.fc1"),
            *layer(f"{ours}.narrow", f"{theirs}.mlp.fc2"),
        ]
    found = [
        entry._replace(theirs=tuple(map("text_model.{}".format, entry.theirs)), before=entry.theirs) for entry in found
    ]
    return found + ([same("project.weight", "text_projection.weight")] if tower.projection else [])


def clip_ignores(tower: ClipTower, key: str) -> bool:
    """Whether this tower has no use for the weight of that name: old files keep the numbers of the places, and some all
    of the CLIP that it was taken from."""
    plain = key.removeprefix("text_model.")
    unprojected = not tower.projection and plain in ("text_projection", "text_projection.weight")
    return unprojected or key.endswith("embeddings.position_ids") or plain.startswith(WHOLE_CLIP)


def read_tower(folder: Path, dtype: torch.dtype = torch.float32) -> ClipTower:
    """The text encoder in a folder, at rest and without gradients.

    Raises `FormatError` for a folder without config.json and safetensors, and for those that are no such encoder.
    """
    return TowerFiles(folder).read(dtype)


class TowerFiles:
    """The text encoder in a folder as it was when this was made: what its configuration says, and its weights, which
    fit and are not read yet. Raises what `read_tower` does."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise FormatError(f"{folder} holds no text encoder: there is no config.json in it; copy the model again")
        self.folder, self.config = folder, files.read_json(folder / "config.json")
        self.weights = MappedWeights(weight_files(folder))
        tower = self.outline()
        check_state(tower, clip_entries(tower), self.weights.shapes, str(folder), partial(clip_ignores, tower))

    def outline(self) -> ClipTower:
        """The text encoder on the meta device."""
        with torch.device("meta"):
            return read_config(self.config, str(self.folder / "config.json"))

    def read(self, dtype: torch.dtype = torch.float32) -> ClipTower:
        tower = self.outline()
        fill(tower, clip_entries(tower), self.weights, str(self.folder), dtype, ignored=partial(clip_ignores, tower))
        return tower.eval().requires_grad_(False)
