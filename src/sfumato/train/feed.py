"""Where a training's samples and prompts come from."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sfumato import disk, files
from sfumato.codec import Latent
from sfumato.condition import Prompt
from sfumato.data.dataset import Dataset, Stored
from sfumato.errors import NonFiniteError
from sfumato.media import Image, Medium
from sfumato.media.image import parse_color
from sfumato.parts import CODECS

_QUIETEST = 1e-3
"""Peaks below are raised as this one is, and silence stays silent."""
_TOGETHER = 32
"""How many data are encoded at once."""
_LARGEST_HALF = 65504.0
"""The largest number in half precision."""


class Feed(Protocol):
    """n data, each of which may be seen in several `views`: a picture mirrored, before one background or another."""

    dataset: Dataset

    @property
    def views(self) -> int: ...

    @property
    def remedy(self) -> str:
        """What to do about samples that are not finite."""
        ...

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        """Data `index` [b] in the views `view` [b] → samples, float32 [b, *d]."""
        ...

    def concat(self, index: Tensor, view: Tensor) -> Tensor | None:
        """What the network sees beside these samples, float32 [b, *d]: their conditioning images, in the same views and
        the same space; None where it sees none."""
        ...

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        """The label or a caption of datum i, in that view; `pick`, from 0 to 1, chooses among several captions."""
        ...


class DataFeed:
    """The data themselves, each in one view, as their medium has them in floats.

    `reads` says what a prompt is, as conditioners do: the "labels" or the "captions" of the data, or "nothing".
    """

    remedy = "prepare the data again"

    def __init__(self, dataset: Dataset, reads: str = "nothing") -> None:
        self.dataset, self.reads = dataset, reads

    @property
    def medium(self) -> Medium:
        """The medium of the samples."""
        return self.dataset.medium

    @property
    def views(self) -> int:
        return 1

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        return self.dataset.medium.floats(torch.from_numpy(self.dataset.stored[index.numpy()]))

    def concat(self, index: Tensor, view: Tensor) -> Tensor | None:
        return None

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        if self.reads == "labels" and self.dataset.labels is not None:
            return int(self.dataset.labels[i])
        captions = self.dataset.captions[i] if self.reads == "captions" else ()
        return captions[min(int(pick * len(captions)), len(captions) - 1)] if captions else None

    def captions(self) -> list[str]:
        """Every caption that may be asked for, each once."""
        return list(dict.fromkeys(caption for own in self.dataset.captions for caption in own))

    def digest(self) -> str:
        """All that decides the samples, as text."""
        return "()"


class ImageFeed(DataFeed):
    """Pictures, in [−1, 1].

    Views are plain and mirrored, if `flip`; and before each background where pictures have an alpha channel: `plain`,
    and `backgrounds` by their names in CSS. A caption then says the background, if it is not the plain one. Of the
    conditioning images, which a data set has where it was prepared with them, the views are the same.
    """

    def __init__(
        self,
        dataset: Dataset,
        flip: bool = False,
        plain: tuple[int, int, int] = (255, 255, 255),
        backgrounds: Sequence[str] = (),
        reads: str = "nothing",
    ) -> None:
        super().__init__(dataset, reads)
        named: list[str | None] = [None, *backgrounds]
        colours = [plain, *(parse_color(name) for name in backgrounds)]
        self.seen = list(product(zip(named, colours, strict=True), (False, True) if flip else (False,)))

    @property
    def medium(self) -> Image:
        """That of pictures as they are seen: an alpha channel is laid over a background before."""
        return Image(min(self.dataset.stored.shape[1], 3))

    @property
    def views(self) -> int:
        return len(self.seen)

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        return self._seen(self.dataset.stored, index, view)

    def concat(self, index: Tensor, view: Tensor) -> Tensor | None:
        stored = self.dataset.conditioning
        return None if stored is None else self._seen(stored, index, view)

    def _seen(self, stored: Stored, index: Tensor, view: Tensor) -> Tensor:
        """Pictures of those stored, in these views."""
        chosen = [self.seen[v] for v in view.tolist()]
        x = torch.from_numpy(stored[index.numpy()])
        mirrored = torch.tensor([flip for _, flip in chosen])
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x).to(torch.float32)  # mirrored as bytes: a quarter
        if x.shape[1] == 4:
            x = _over(x, torch.tensor([colour for (_, colour), _ in chosen], dtype=torch.float32))
        return x.div_(127.5).sub_(1)

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        prompt = super().prompt(i, view, pick)
        (background, _), _ = self.seen[view]
        if not isinstance(prompt, str) or background is None or bool((self.dataset.stored[i, 3:] == 255).all()):
            return prompt  # what is opaque stands before nothing
        return before_background(prompt, background)

    def captions(self) -> list[str]:
        grounds = dict.fromkeys(background for (background, _), _ in self.seen)
        return [c if ground is None else before_background(c, ground) for c in super().captions() for ground in grounds]

    def digest(self) -> str:
        return repr(self.seen)


class AudioFeed(DataFeed):
    """Sounds, in [−1, 1]. With `peak`, each is scaled so that its loudest sample is ±1. Views are plain and, if
    `invert`, of the other polarity."""

    def __init__(self, dataset: Dataset, peak: bool = False, invert: bool = False, reads: str = "nothing") -> None:
        super().__init__(dataset, reads)
        self.peak, self.invert = peak, invert

    @property
    def views(self) -> int:
        return 2 if self.invert else 1

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        x = super().samples(index, view)
        scale = 1 - 2 * view.to(x)
        if self.peak:
            scale = scale / x.abs().amax((1, 2)).clamp_min(_QUIETEST)
        return x * scale[:, None, None]

    def digest(self) -> str:
        return repr((self.peak, self.invert))


class LatentFeed:
    """The latents behind another feed's views, each computed once and kept in the file `cache`; with those of what the
    network sees beside the samples, which the codec scales alike.

    A file there that is not whole or of another shape is written anew; that it belongs to this feed and codec is for
    its name to say: see `latents_key`.
    """

    def __init__(
        self,
        feed: DataFeed,
        codec: Latent,
        cache: Path,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self.feed, self.dataset, self.channels = feed, feed.dataset, codec.channels
        shape = _shape(feed, codec)
        kept = _opened(cache, shape)
        if kept is None:
            _encode(feed, codec, cache, shape, progress)
            kept = _opened(cache, shape)
        assert kept is not None
        self.latents = kept
        self.remedy = f"delete {cache}: --resume encodes the data again"

    @property
    def views(self) -> int:
        return self.feed.views

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        return torch.from_numpy(self.latents[index.numpy(), view.numpy(), : self.channels]).to(torch.float32)

    def concat(self, index: Tensor, view: Tensor) -> Tensor | None:
        if self.dataset.conditioning is None:
            return None
        return torch.from_numpy(self.latents[index.numpy(), view.numpy(), self.channels :]).to(torch.float32)

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        return self.feed.prompt(i, view, pick)


def latents_key(feed: DataFeed, codec: Latent) -> str:
    """A hash of all that decides the latents: pictures, views and codec."""
    weights = files.tensors_sha256(codec.state_dict())
    parts = [feed.dataset.fingerprint, feed.dataset.contents, feed.digest(), CODECS.dump(codec), weights]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def latents_size(feed: DataFeed, codec: Latent) -> int:
    """The bytes that `LatentFeed` takes to keep the latents of every view."""
    return 2 * math.prod(_shape(feed, codec))


def before_background(caption: str, background: str) -> str:
    """A caption, with the background that its picture stands before."""
    return f"{caption}, {background} background"


def _over(x: Tensor, colour: Tensor) -> Tensor:
    """RGBA pictures [b, 4, h, w] over the colours [b, 3]; 0 to 255, as bytes are rounded."""
    alpha = x[:, 3:] / 255
    return (alpha * x[:, :3] + (1 - alpha) * colour[:, :, None, None]).round()


def _shape(feed: DataFeed, codec: Latent) -> tuple[int, ...]:
    """The shape of the latents of every view: [n, views, c, h, w], c twice the codec's with conditioning images."""
    channels, *axes = codec.shape(feed.dataset.size)
    return (len(feed.dataset), feed.views, channels * (1 if feed.dataset.conditioning is None else 2), *axes)


def _encoded(feed: DataFeed, codec: Latent, index: Tensor, view: Tensor) -> Tensor:
    """The latents of samples, and after them those of what is seen beside them."""
    latents, beside = codec.encode(feed.samples(index, view)), feed.concat(index, view)
    return (latents if beside is None else torch.cat([latents, codec.encode(beside)], dim=1)).cpu()


def _opened(cache: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The latents in a file; None if there is none, or not these."""
    if not cache.exists():
        return None
    try:
        kept = np.load(cache, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.float16 else None


def _encode(
    feed: DataFeed, codec: Latent, cache: Path, shape: tuple[int, ...], progress: Callable[[int, int], None]
) -> None:
    """Write the latents of every view of every picture, float16 [n, views, c, h, w], to `cache`: whole or not at all.

    Half precision rounds latents of unit variance by 2⁻¹¹ of their size: far less than what the codec itself loses.
    """
    n, views = shape[:2]
    with disk.replacing(cache, 2 * math.prod(shape)) as beside, open(beside, "wb") as file:
        # written and not mapped: a full disk is then an error, where a map would end the process
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for start in range(0, n, _TOGETHER):
            index = torch.arange(start, min(start + _TOGETHER, n))
            seen = [_encoded(feed, codec, index, torch.full_like(index, view)) for view in range(views)]
            latents = torch.stack(seen, dim=1)
            if not bool((latents.abs() < _LARGEST_HALF).all()):
                bad = next(
                    i for i, one in zip(index.tolist(), latents, strict=True) if not (one.abs() < _LARGEST_HALF).all()
                )
                raise NonFiniteError(
                    f"the codec makes numbers of {feed.dataset.names[bad]} that are not finite or too large to keep:"
                    " train it again, with a lower optimizer.learning_rate"
                )
            file.write(latents.numpy().astype("<f2").tobytes())
            progress(min(start + _TOGETHER, n), n)
