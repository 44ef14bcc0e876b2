"""Names of open_clip's text towers; whole towers are read in tests/interop/test_single_file.py."""

import torch

from sfumato.condition.clip.open_clip import open_clip_entries, open_clip_ignores
from sfumato.keys import fill
from sfumato.nn.text.clip_tower import ClipTower


def tower(projection: int = 0) -> ClipTower:
    return ClipTower(20, width=12, layers=2, heads=2, hidden=16, length=8, projection=projection)


def test_each_weight_has_a_place_and_goes_both_ways() -> None:
    one, other = tower(6), tower(6)
    theirs = {
        name: value
        for entry in open_clip_entries(one, "model.")
        for name, value in zip(entry.theirs, entry.write(one.state_dict()[entry.ours]), strict=True)
    }
    assert theirs["model.text_projection"].shape == (12, 6)
    assert theirs["model.transformer.resblocks.1.attn.in_proj_weight"].shape == (36, 12)
    fill(other, open_clip_entries(other, "model."), theirs, "a test")
    ids = torch.tensor([[3, 4, 19]])
    assert all(torch.equal(mine, yours) for mine, yours in zip(one(ids), other(ids), strict=True))


def test_what_has_no_use_is_left_out() -> None:
    plain = tower()
    unused = ("transformer.resblocks.2.ln_1.weight", "text_projection", "logit_scale")
    assert all(open_clip_ignores(plain, name) for name in unused)
    assert not any(open_clip_ignores(plain, name) for name in ("transformer.resblocks.1.ln_1.weight", "visual.proj"))
    assert not open_clip_ignores(tower(6), "text_projection")
