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
from PIL import ImageColor
from torch import Tensor

from sfumato import disk, files
from sfumato.codec import Latent
from sfumato.condition import Prompt
from sfumato.data.dataset import Dataset
from sfumato.errors import NonFiniteError
from sfumato.parts import CODECS

TOGETHER = 32
"""How many pictures are encoded at once."""
HALF = 65504.0
"""The largest number in half precision."""


class Feed(Protocol):
    """n pictures, each of which may be seen in several `views`: mirrored, before one background or another."""

    pictures: Dataset

    @property
    def views(self) -> int: ...

    @property
    def remedy(self) -> str:
        """What to do about samples that are not finite."""
        ...

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        """Pictures `index` [b] in the views `view` [b] → samples, float32 [b, *d]."""
        ...

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        """What picture i shows, in that view; `pick`, from 0 to 1, chooses among several things to say."""
        ...


class PictureFeed:
    """The pictures themselves, in [−1, 1].

    Views are plain and mirrored, if `flip`; and before each background where pictures have an alpha channel: `plain`,
    and `backgrounds` by their names in CSS. A caption then says the background, if it is not the plain one.
    """

    def __init__(
        self,
        pictures: Dataset,
        flip: bool = False,
        plain: tuple[int, int, int] = (255, 255, 255),
        backgrounds: Sequence[str] = (),
        prompts: str | None = None,
    ) -> None:
        self.pictures, self.prompts = pictures, prompts
        named: list[str | None] = [None, *backgrounds]
        colours = [plain, *(ImageColor.getrgb(name)[:3] for name in backgrounds)]
        self.seen = list(product(zip(named, colours, strict=True), (False, True) if flip else (False,)))

    remedy = "prepare the data again"

    @property
    def views(self) -> int:
        return len(self.seen)

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        chosen = [self.seen[v] for v in view.tolist()]
        x = torch.from_numpy(self.pictures.stored[index.numpy()])
        mirrored = torch.tensor([flip for _, flip in chosen])
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x).to(torch.float32)  # mirrored as bytes: a quarter
        if x.shape[1] == 4:
            x = _over(x, torch.tensor([colour for (_, colour), _ in chosen], dtype=torch.float32))
        return x.div_(127.5).sub_(1)

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        if self.prompts == "labels" and self.pictures.labels is not None:
            return int(self.pictures.labels[i])
        captions = self.pictures.captions[i] if self.prompts == "text" else ()
        if not captions:
            return None
        caption = captions[min(int(pick * len(captions)), len(captions) - 1)]
        (background, _), _ = self.seen[view]
        if background is None or bool((self.pictures.stored[i, 3:] == 255).all()):
            return caption  # what is opaque stands before nothing
        return said_before(caption, background)

    def said(self) -> list[str]:
        """Every caption that may be asked for, each once."""
        grounds = dict.fromkeys(background for (background, _), _ in self.seen)
        captions = dict.fromkeys(caption for own in self.pictures.captions for caption in own)
        return [c if ground is None else said_before(c, ground) for c in captions for ground in grounds]


class LatentFeed:
    """The latents behind another feed's views, each computed once and kept in the file `cache`.

    A file there that is not whole or of another shape is written anew; that it belongs to this feed and codec is for
    its name to say: see `latents_key`.
    """

    def __init__(
        self,
        feed: PictureFeed,
        codec: Latent,
        cache: Path,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self.feed, self.pictures = feed, feed.pictures
        shape = _shape(feed, codec)
        kept = _opened(cache, shape)
        if kept is None:
            _encode(feed, codec, cache, shape, progress)
            kept = _opened(cache, shape)
        assert kept is not None
        self.latents = kept
        self.remedy = f"delete {cache}: --resume encodes the pictures again"

    @property
    def views(self) -> int:
        return self.feed.views

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        return torch.from_numpy(self.latents[index.numpy(), view.numpy()]).to(torch.float32)

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        return self.feed.prompt(i, view, pick)


def latents_key(feed: PictureFeed, codec: Latent) -> str:
    """A hash of all that decides the latents: pictures, views and codec."""
    weights = files.tensors_sha256(codec.state_dict())
    said = [feed.pictures.fingerprint, feed.pictures.contents, repr(feed.seen), CODECS.dump(codec), weights]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def latents_size(feed: PictureFeed, codec: Latent) -> int:
    """The bytes that `LatentFeed` takes to keep the latents of every view."""
    return 2 * math.prod(_shape(feed, codec))


def said_before(caption: str, background: str) -> str:
    """A caption, with the background that its picture stands before."""
    return f"{caption}, {background} background"


def _over(x: Tensor, colour: Tensor) -> Tensor:
    """RGBA pictures [b, 4, h, w] over the colours [b, 3]; 0 to 255, as bytes are rounded."""
    alpha = x[:, 3:] / 255
    return (alpha * x[:, :3] + (1 - alpha) * colour[:, :, None, None]).round()


def _shape(feed: PictureFeed, codec: Latent) -> tuple[int, ...]:
    """The shape of the latents of every view: [n, views, c, h, w]."""
    height, width = feed.pictures.stored.shape[2:]
    return (len(feed.pictures), feed.views, *codec.shape((width, height)))


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
    feed: PictureFeed, codec: Latent, cache: Path, shape: tuple[int, ...], progress: Callable[[int, int], None]
) -> None:
    """Write the latents of every view of every picture, float16 [n, views, c, h, w], to `cache`: whole or not at all.

    Half precision rounds latents of unit variance by 2⁻¹¹ of their size: far less than what the codec itself loses.
    """
    n, views = shape[:2]
    with disk.replacing(cache, 2 * math.prod(shape)) as beside, open(beside, "wb") as file:
        # written and not mapped: a full disk is then an error, where a map would end the process
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for start in range(0, n, TOGETHER):
            index = torch.arange(start, min(start + TOGETHER, n))
            seen = [codec.encode(feed.samples(index, torch.full_like(index, view))).cpu() for view in range(views)]
            latents = torch.stack(seen, dim=1)
            if not bool((latents.abs() < HALF).all()):
                bad = next(i for i, one in zip(index.tolist(), latents, strict=True) if not (one.abs() < HALF).all())
                raise NonFiniteError(
                    f"the codec makes numbers of {feed.pictures.names[bad]} that are not finite or too large to keep:"
                    " train it again, with a lower optimizer.learning_rate"
                )
            file.write(latents.numpy().astype("<f2").tobytes())
            progress(min(start + TOGETHER, n), n)
