"""BERT beside transformers' own, and against what it must not see."""

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from sfumato.errors import FormatError
from sfumato.nn.text.bert import bert


@pytest.fixture(scope="module")
def theirs() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=12,
        layer_norm_eps=1e-12,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)  # biases and norms too, which would start at 0 and 1
    return model


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(1, 50, (3, 9), generator=torch.Generator().manual_seed(1))


MASK = torch.arange(9) < torch.tensor([9, 4, 1])[:, None]


def test_transformers_gives_the_same(theirs: BertModel, ids: Tensor) -> None:
    ours = bert(theirs.state_dict(), heads=4)
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=MASK.long()).last_hidden_state
    assert (ours(ids, MASK) - wanted)[MASK].abs().max() < 1e-5
    assert (bert(theirs.state_dict(), heads=2)(ids, MASK) - wanted)[MASK].abs().max() > 1e-2


def test_what_is_masked_is_not_seen(theirs: BertModel, ids: Tensor) -> None:
    ours = bert(theirs.state_dict(), heads=4)
    other = torch.where(MASK, ids, 50 - ids)
    assert (ours(ids, MASK) - ours(other, MASK))[MASK].abs().max() < 1e-6
    assert (ours(ids, MASK)[1, :4] - ours(ids[1:2, :4], MASK[1:2, :4])[0]).abs().max() < 1e-5


def test_it_is_at_rest_and_keeps_its_sizes(theirs: BertModel) -> None:
    ours = bert(theirs.state_dict(), heads=4)
    assert not ours.training and not any(parameter.requires_grad for parameter in ours.parameters())
    assert ours.longest == 12
    assert sum(p.numel() for p in ours.parameters()) == sum(
        p.numel() for name, p in theirs.named_parameters() if not name.startswith("pooler")
    )


@pytest.mark.parametrize("absent", ["embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.bias"])
def test_other_weights_are_refused(theirs: BertModel, absent: str) -> None:
    weights = {name: tensor for name, tensor in theirs.state_dict().items() if name != absent}
    with pytest.raises(FormatError, match="not those of a BERT"):
        bert(weights, heads=4)
    with pytest.raises(FormatError, match="not those of a BERT"):
        bert(theirs.state_dict() | {"classifier.weight": torch.zeros(3)}, heads=4)
