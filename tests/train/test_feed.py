"""Samples and prompts, in every view of a picture."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfumato import disk
from sfumato.codec import Latent
from sfumato.data import Dataset
from sfumato.errors import NonFiniteError
from sfumato.media import Image
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.train.feed import ImageFeed, LatentFeed, latents_key, latents_size

CAPTIONS = (("a cat", "cat, pet"), ("a dog",), ())


def pictures(channels: int = 3, captions: Any = CAPTIONS, labels: Any = None) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (3, channels, 4, 6), dtype=np.uint8)
    return Dataset(Image(pixels.shape[1]), pixels, labels, captions, ("a", "b", "c"), (), (), (), "")


def shown(feed: ImageFeed, view: int) -> torch.Tensor:
    return feed.samples(torch.arange(3), torch.full((3,), view))


def test_a_plain_feed_has_the_pictures() -> None:
    data = pictures()
    feed = ImageFeed(data)
    assert feed.views == 1
    assert (shown(feed, 0) - (torch.from_numpy(data.stored).float() / 127.5 - 1)).abs().max() <= 1e-6


def test_views_are_mirrored_and_before_every_background() -> None:
    data = pictures(channels=4)
    feed = ImageFeed(data, flip=True, plain=(255, 255, 255), backgrounds=("black", "skyblue"))
    assert feed.views == 6
    alpha, colour = data.stored[:, 3:] / 255, data.stored[:, :3].astype(float)
    for view, ground in ((0, (255, 255, 255)), (2, (0, 0, 0)), (4, (135, 206, 235))):
        expected = alpha * colour + (1 - alpha) * np.array(ground)[:, None, None]
        seen = (shown(feed, view).numpy() + 1) * 127.5
        assert np.abs(seen - expected).max() <= 0.501, "rounded to whole numbers, as bytes are"
        assert np.abs(seen - seen.round()).max() < 1e-4
        assert torch.equal(shown(feed, view + 1), shown(feed, view).flip(-1))


def test_samples_of_a_batch_may_be_in_different_views() -> None:
    feed = ImageFeed(pictures(channels=4), flip=True, backgrounds=("black",))
    both = feed.samples(torch.tensor([2, 0]), torch.tensor([3, 0]))
    assert torch.equal(both[0], shown(feed, 3)[2]) and torch.equal(both[1], shown(feed, 0)[0])


def test_one_of_the_captions_is_picked_and_says_the_background() -> None:
    feed = ImageFeed(pictures(channels=4), backgrounds=("black",), reads="captions")
    assert [feed.prompt(0, 0, pick) for pick in (0.0, 0.49, 0.5, 0.999)] == ["a cat", "a cat", "cat, pet", "cat, pet"]
    assert feed.prompt(1, 1, 0.3) == "a dog, black background"
    assert feed.prompt(2, 1, 0.3) is None, "without a caption, the empty prompt"
    assert feed.captions() == [
        f"{text}{end}" for text in ("a cat", "cat, pet", "a dog") for end in ("", ", black background")
    ]


def test_a_background_is_noted_wherever_some_of_it_is_seen() -> None:
    data = pictures(channels=4, captions=(("a cat",),) * 3)
    data.stored[0, 3], data.stored[1, 3], data.stored[2, 3] = 255, 0, 255
    data.stored[2, 3, :2] = 0  # cut out: opaque here and clear there
    feed = ImageFeed(data, backgrounds=("black",), reads="captions")
    assert [feed.prompt(i, 1, 0.0) for i in range(3)] == ["a cat", *["a cat, black background"] * 2]


def test_labels_are_prompts_where_they_are_wanted() -> None:
    data = pictures(labels=np.array([2, 0, 1]))
    assert [ImageFeed(data, reads="labels").prompt(i, 0, 0.9) for i in range(3)] == [2, 0, 1]
    assert ImageFeed(data).prompt(0, 0, 0.9) is None


class Doubled(Latent):
    """A codec that can be checked by eye, and counts how often it is asked."""

    calls = 0

    def __init__(self) -> None:
        super().__init__(KLAutoencoder(width=8, multipliers=(1,), blocks=1, latent=3, attention=False))

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        return 2 * pictures


def test_latents_are_computed_once_for_every_view(tmp_path: Path) -> None:
    Doubled.calls = 0
    progress: list[tuple[int, int]] = []
    plain = ImageFeed(pictures(), flip=True, reads="captions")
    feed = LatentFeed(plain, Doubled(), tmp_path / "latents.npy", lambda done, of: progress.append((done, of)))
    assert Doubled.calls == 2 and progress == [(3, 3)] and feed.views == 2
    for view in range(2):
        latents = feed.samples(torch.arange(3), torch.full((3,), view))
        assert latents.dtype == torch.float32
        assert (latents - 2 * shown(plain, view)).abs().max() <= 2**-10
    assert feed.prompt(1, 0, 0.0) == "a dog"
    assert latents_size(plain, Doubled()) == feed.latents.nbytes == (tmp_path / "latents.npy").stat().st_size - 128
    again = LatentFeed(plain, Doubled(), tmp_path / "latents.npy")
    assert Doubled.calls == 2, "read from the file"
    assert np.array_equal(again.latents, feed.latents)


def test_as_much_room_is_asked_for_as_latents_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, replacing = [], disk.replacing
    monkeypatch.setattr(disk, "replacing", lambda path, size: (asked.append(size), replacing(path, size))[1])
    LatentFeed(ImageFeed(pictures()), Doubled(), tmp_path / "latents.npy")
    assert asked == [latents_size(ImageFeed(pictures()), Doubled())]


def test_latents_that_could_not_be_finished_leave_no_file(tmp_path: Path) -> None:
    class Broken(Doubled):
        def encode(self, pictures: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no more")

    class Wild(Doubled):
        def encode(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.where(torch.arange(3)[:, None, None, None] == 1, 1e6, pictures)

    with pytest.raises(RuntimeError, match="no more"):
        LatentFeed(ImageFeed(pictures()), Broken(), tmp_path / "latents.npy")
    with pytest.raises(
        NonFiniteError,
        match="makes numbers of b that are not finite or too large to keep: train it again, with a lower optimizer.lea",
    ):
        LatentFeed(ImageFeed(pictures()), Wild(), tmp_path / "latents.npy")
    assert not list(tmp_path.iterdir())


def test_a_file_of_other_latents_is_written_anew(tmp_path: Path) -> None:
    plain, cache = ImageFeed(pictures()), tmp_path / "latents.npy"
    whole = LatentFeed(plain, Doubled(), cache).latents.copy()
    for damage in (b"no array", cache.read_bytes()[:-9]):
        cache.unlink()
        cache.write_bytes(damage)
        assert np.array_equal(LatentFeed(plain, Doubled(), cache).latents, whole)
    assert LatentFeed(ImageFeed(pictures(), flip=True), Doubled(), cache).latents.shape[1] == 2


def test_the_name_of_latents_follows_from_all_that_decides_them() -> None:
    codec, other = Doubled(), Doubled()
    scaled = Latent(codec.network, scale=(2.0,))
    clear, plain = ImageFeed(pictures(4)), ImageFeed(pictures())
    feeds = [plain, ImageFeed(pictures(), flip=True), ImageFeed(pictures(4), backgrounds=("black",))]
    feeds += [ImageFeed(replace(pictures(), **{key: "x"})) for key in ("fingerprint", "contents")]
    feeds += [ImageFeed(pictures(), plain=(0, 0, 0))]
    keys = [latents_key(feed, scaled) for feed in feeds]
    moved = Latent(codec.network, shift=(2.0,))
    drawn = Latent(other.network, scale=(2.0,))
    keys += [latents_key(plain, one) for one in (moved, drawn)]
    assert len(set(keys)) == len(keys)
    assert latents_key(clear, scaled) == latents_key(plain, scaled) == keys[0], (
        "the fingerprint stands for the pictures"
    )


def test_what_is_opaque_stands_before_no_background() -> None:
    data = pictures(channels=4)
    data.stored[0, 3] = 255
    feed = ImageFeed(data, backgrounds=("black",), reads="captions")
    assert (feed.prompt(0, 1, 0.0), feed.prompt(1, 1, 0.0)) == ("a cat", "a dog, black background")
