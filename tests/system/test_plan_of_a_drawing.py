"""A drawing that is planned, and drawn in parts."""

from typing import Any

import pytest
import torch
from test_cascade import pair
from test_system import small

from condition.small_encoder import Waves
from sfumato.condition import EncodedText
from sfumato.errors import InputError
from sfumato.parts import TEXT_ENCODERS
from sfumato.system import Samples


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEXT_ENCODERS.kinds, "waves", Waves)


def drawn(plan: Any, batches: Any = None) -> Samples:
    return Samples.concat(frame.samples for frame in plan.frames(batches) if frame.samples is not None)


@pytest.mark.parametrize("kind", ["texts", "cascade"])
def test_every_part_is_drawn_to_the_same_bits_whatever_else_is(kind: str) -> None:
    """In any order, and by a plan of its own; a text that several batches have is encoded with the same others."""
    make = pair if kind == "cascade" else lambda: small(EncodedText(Waves()))
    prompts = ["cat", "dog", "cat"] if kind == "cascade" else ["a cat", "a house in a hat on a red house", "a dog"]
    asked: dict[str, Any] = {
        "seeds": [[0, 1], [2], [0, 3]],
        "batch": 2,
        **({} if kind == "cascade" else {"guidance": 2.0}),
    }
    whole = make().generate(prompts, **asked)
    plan = make().plan(prompts, **asked)
    assert plan.samples == [(prompts[0], 0), (prompts[0], 1), (prompts[1], 2), (prompts[2], 0), (prompts[2], 3)]
    assert plan.batches == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert tuple(plan.records()) == whole.records, "known before anything is drawn"
    for rows in reversed(plan.batches):
        part = drawn(make().plan(prompts, **asked), [rows])
        assert torch.equal(part.data, whole.data[rows]) and part.records == whole.records[rows]
    frames = list(plan.frames(plan.batches[1:]))
    assert [frame.done for frame in frames] == list(range(1, frames[-1].total + 1))
    assert [frame.start for frame in frames if frame.samples is not None] == [2, 4]


def test_seeds_are_all_prompts_or_each_its_own() -> None:
    system = small()
    own, alone = system.generate(["cat", "dog"], seeds=[range(2), [7]]), system.generate("dog", seeds=[7])
    assert [(record["prompt"], record["seed"]) for record in own.records] == [("cat", 0), ("cat", 1), ("dog", 7)]
    assert (own.data[2] - alone.data[0]).abs().max() < 1e-5
    for seeds in ([[0]], [[0], [1], [2]], [[0], 1]):
        with pytest.raises(InputError, match="seeds are one list for all prompts, or a list for each of the 2"):
            system.plan(["cat", "dog"], seeds=seeds)
    with pytest.raises(InputError, match="nothing to draw"):
        system.plan(["cat", "dog"], seeds=[[], []])
