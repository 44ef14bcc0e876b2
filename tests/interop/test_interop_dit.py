"""Diffusion transformers of diffusers, opened and written: against their own class, with weights drawn at random."""

from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from torch import Tensor, nn

from sfumato.condition import Labels
from sfumato.errors import FormatError, InputError
from sfumato.interop.diffusers.networks.dit import dit_entries, read_class_names, read_dit_config, write_dit_config
from sfumato.keys import fill, write_state
from sfumato.nn.image.dit import DiT, positions
from sfumato.parts import NETWORKS

SMALL: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 3,
    "out_channels": 6,
    "num_layers": 2,
    "sample_size": 8,
    "num_embeds_ada_norm": 5,
}
CASES: list[dict[str, Any]] = [{}, {"patch_size": 4, "num_layers": 3}, {"out_channels": None, "num_layers": 1}]
PUBLISHED: dict[str, Any] = {
    "_class_name": "Transformer2DModel",
    "_diffusers_version": "0.12.0.dev0",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": 72,
    "cross_attention_dim": None,
    "dropout": 0.0,
    "in_channels": 4,
    "norm_elementwise_affine": False,
    "norm_num_groups": 32,
    "norm_type": "ada_norm_zero",
    "num_attention_heads": 16,
    "num_embeds_ada_norm": 1000,
    "num_layers": 28,
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "out_channels": 8,
    "patch_size": 2,
    "sample_size": 32,
    "upcast_attention": False,
    "use_linear_projection": False,
}
"""DiT-XL/2's, for pictures of 256×256."""
each = pytest.mark.parametrize("changes", CASES)


def theirs(**changes: Any) -> DiTTransformer2DModel:
    """A small model of theirs, every weight drawn, with the same layers of time and class in each block."""
    torch.manual_seed(0)
    model = DiTTransformer2DModel(**{**SMALL, **changes}).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3 if parameter.ndim == 1 else 1 / parameter[0].numel() ** 0.5)
    blocks: Any = model.transformer_blocks
    for block in blocks:
        block.norm1.emb.load_state_dict(blocks[0].norm1.emb.state_dict())
    return model


def opened(model: DiTTransformer2DModel, state: dict[str, Tensor] | None = None) -> DiT:
    with torch.device("meta"):
        network = read_dit_config({**model.config, "_class_name": "DiTTransformer2DModel"}, "dit")
    fill(network, dit_entries(network), model.state_dict() if state is None else state, "dit")
    return network.eval()


def answered(model: DiTTransformer2DModel, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
    """Their answer to samples of any size: what it puts together itself is right for squares alone, so its last layer
    is listened to and its patches are put where they belong."""
    kept: list[Tensor] = []
    listening = model.proj_out_2.register_forward_hook(lambda layer, inputs, output: kept.append(output))
    model(x, time, labels)
    listening.remove()
    p, c = model.config.patch_size, model.out_channels
    patches = kept[0].reshape(len(x), x.shape[2] // p, x.shape[3] // p, p, p, c)
    return patches.permute(0, 5, 1, 3, 2, 4).reshape(len(x), c, *x.shape[2:])


@torch.no_grad()
@each
@pytest.mark.parametrize("grid", [(4, 4), (9, 9), (4, 6)], ids=str)
def test_a_call_is_theirs(changes: dict[str, Any], grid: tuple[int, int]) -> None:
    """For a class and for none, which theirs counts after the last."""
    model = theirs(**changes)
    network = opened(model)
    x, time, labels = torch.randn(2, 3, *(side * network.patch for side in grid)), torch.tensor([3, 741]), [3, 5]
    expected = answered(model, x, time, torch.tensor(labels))
    if grid[0] == grid[1]:
        assert torch.equal(expected, model(x, time, torch.tensor(labels)).sample)
    assert expected.std() > 0.1
    vector = Labels(tuple("abcde"))(["d", None]).vector
    assert (network(x, time, vector=vector) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(("height", "width"), [(4, 4), (16, 16), (3, 10)])
def test_positions_are_theirs(height: int, width: int) -> None:
    wanted = get_2d_sincos_pos_embed(16, (height, width), base_size=4, output_type="pt")
    assert (positions(height, width, 16, base_size=4) - wanted).abs().max() <= 1e-6


@each
def test_there_and_back(changes: dict[str, Any]) -> None:
    model = theirs(**changes)
    network = opened(model)
    config = write_dit_config(network)
    assert config.pop("_class_name") == "DiTTransformer2DModel"
    again = DiTTransformer2DModel(**config)
    again.load_state_dict(dict(write_state(network, dit_entries(network))), strict=True)
    state = again.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    options = {key: value for key, value in model.config.items() if key not in ("out_channels", "_use_default_values")}
    assert options == {key: again.config[key] for key in options} and again.out_channels == model.out_channels
    ours = NETWORKS.load(NETWORKS.dump(network))
    assert NETWORKS.dump(opened(again)) == NETWORKS.dump(ours)
    ours.load_state_dict(network.state_dict())


@pytest.mark.parametrize("part", ["timestep_embedder.linear_2.weight", "class_embedder.embedding_table.weight"])
def test_blocks_conditioned_otherwise_are_refused(part: str) -> None:
    model = theirs()
    key = f"transformer_blocks.1.norm1.emb.{part}"
    state = model.state_dict()
    state[key] = state[key] + 1
    with pytest.raises(FormatError, match=f"^dit: '{key}' should repeat 'transformer_blocks.0"):
        opened(model, state)
    del state[key]
    with pytest.raises(FormatError, match=f"'{key}' missing"):
        opened(model, state)


@pytest.mark.parametrize(("sample_size", "name"), [(32, "Transformer2DModel"), (64, "DiTTransformer2DModel")])
def test_dit_xl_by_name_and_shape(sample_size: int, name: str) -> None:
    config = PUBLISHED | {"sample_size": sample_size, "_class_name": name}
    with torch.device("meta"):
        model = DiTTransformer2DModel(**{**write_dit_config(read_dit_config(config, "dit")), "_class_name": None})
        network = read_dit_config(config, "dit")
    # 675,129,632 of the released code are these and the 16·16·1152 of its table of positions
    assert sum(p.numel() for p in network.parameters()) == 675_129_632 - 16 * 16 * 1152
    written = {key: tensor.shape for key, tensor in write_state(network, dit_entries(network))}
    assert written == {key: tensor.shape for key, tensor in model.state_dict().items()}


NEARLY: dict[str, Any] = {"modulation": "block", "qk_norm": False, "vector": 3, "null": True}


def changed(**changes: Any) -> dict[str, Any]:
    return PUBLISHED | changes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed(_class_name="PixArtTransformer2DModel"), "no _class_name 'PixArtTransformer2DModel'.*known: DiTTr"),
        ({k: v for k, v in PUBLISHED.items() if k != "norm_type"}, "a Transformer2DModel without norm_type"),
        (changed(norm_type="ada_norm_single"), "'norm_type': .*'ada_norm_zero', not 'ada_norm_single'"),
        (changed(activation_fn="geglu"), "'activation_fn': .*'gelu-approximate', not 'geglu'"),
        (changed(attention_bias=False), "'attention_bias'"),
        (changed(cross_attention_dim=768), "'cross_attention_dim'"),
        (changed(patches=2), "no setting 'patches'.*'patch_size'"),
        (changed(patch_size=0), "patch_size must be at least 1"),
        (changed(interpolation_scale=2.0), "interpolation_scale must be 1, not 2.0"),
        (changed(num_layers=0), "depth must be from 1"),
        (changed(sample_size=1), "base_size must be from 1"),
    ],
)
def test_what_we_do_not_know_is_refused(config: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(FormatError, match=f"^the-dit: .*{message}"):
        read_dit_config(config, "the-dit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no DiT with modulation shared: only one with modulation block"),
        ({"modulation": "block"}, "no DiT with qk_norm True"),
        (NEARLY, "no DiT with frequency_shift 0.0: only one with frequency_shift 1.0"),
        (NEARLY | {"frequency_shift": 1.0}, "without base_size"),
    ],
)
def test_what_they_cannot_express_is_not_written(arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=message):
        write_dit_config(DiT(width=32, depth=1, head_width=8, **arguments))


def test_classes_have_the_names_of_the_index() -> None:
    names = read_class_names({"id2label": {"0": "tench, Tinca tinca", "2": "great white shark, white shark"}}, 3, "dit")
    assert names == ("tench, Tinca tinca", "1", "great white shark, white shark")
    labels = Labels(names)
    assert [labels.index(word) for word in ("tench, Tinca tinca", "white shark", "Tinca Tinca", "1", 2)] == [
        0,
        2,
        0,
        1,
        2,
    ]
    with pytest.raises(InputError, match="there is no class 'shark'"):
        labels.index("shark")
    assert read_class_names({}, 2, "dit") == ("0", "1")
    with pytest.raises(FormatError, match="names class '3', and there are 0 to 2"):
        read_class_names({"id2label": {"3": "goldfish"}}, 3, "dit")
    with pytest.raises(FormatError, match="should be a table"):
        read_class_names({"id2label": {"0": 1}}, 3, "dit")
