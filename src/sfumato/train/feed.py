"""Where a training's samples and prompts come from."""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import ImageColor
from torch import Tensor

from sfumato import files
from sfumato.codec import Codec
from sfumato.condition import Prompt
from sfumato.data.prepare import Pictures


class Feed(Protocol):
    """n pictures, each of which may be seen in several `views`: mirrored, before one background or another."""

    pictures: Pictures

    @property
    def views(self) -> int: ...

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
        pictures: Pictures,
        flip: bool = False,
        plain: tuple[int, int, int] = (255, 255, 255),
        backgrounds: Sequence[str] = (),
        prompts: str | None = None,
    ) -> None:
        self.pictures, self.prompts = pictures, prompts
        named: list[str | None] = [None, *backgrounds]
        colours = [plain, *(ImageColor.getrgb(name)[:3] for name in backgrounds)]
        self._views = list(product(zip(named, colours, strict=True), (False, True) if flip else (False,)))

    @property
    def views(self) -> int:
        return len(self._views)

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        x = torch.from_numpy(self.pictures.pixels[index.numpy()]).to(torch.float32)
        chosen = [self._views[v] for v in view.tolist()]
        if x.shape[1] == 4:
            x = _over(x, torch.tensor([colour for (_, colour), _ in chosen], dtype=torch.float32))
        mirrored = torch.tensor([flip for _, flip in chosen])
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        return x / 127.5 - 1

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        if self.prompts == "labels" and self.pictures.labels is not None:
            return int(self.pictures.labels[i])
        captions = self.pictures.captions[i] if self.prompts == "text" else ()
        if not captions:
            return None
        caption = captions[min(int(pick * len(captions)), len(captions) - 1)]
        (background, _), _ = self._views[view]
        return caption if background is None else said_before(caption, background)

    def said(self) -> list[str]:
        """Every caption that may be asked for, each once."""
        grounds = dict.fromkeys(background for (background, _), _ in self._views)
        captions = dict.fromkeys(caption for own in self.pictures.captions for caption in own)
        return [c if ground is None else said_before(c, ground) for c in captions for ground in grounds]


class LatentFeed:
    """The latents behind another feed's views, each computed once and kept in the file `cache`."""

    def __init__(
        self, feed: PictureFeed, codec: Codec, cache: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.feed, self.pictures = feed, feed.pictures
        if not cache.exists():
            _encode(feed, codec, cache, progress or (lambda done, of: None))
        self.latents = np.load(cache, mmap_mode="r")

    @property
    def views(self) -> int:
        return self.feed.views

    def samples(self, index: Tensor, view: Tensor) -> Tensor:
        return torch.from_numpy(self.latents[index.numpy(), view.numpy()]).to(torch.float32)

    def prompt(self, i: int, view: int, pick: float) -> Prompt:
        return self.feed.prompt(i, view, pick)


def said_before(caption: str, background: str) -> str:
    """A caption, with the background that its picture stands before."""
    return f"{caption}, {background} background"


def _over(x: Tensor, colour: Tensor) -> Tensor:
    """RGBA pictures [b, 4, h, w] over the colours [b, 3]; 0 to 255, as bytes are rounded."""
    alpha = x[:, 3:] / 255
    return (alpha * x[:, :3] + (1 - alpha) * colour[:, :, None, None]).round()


def _encode(feed: PictureFeed, codec: Codec, cache: Path, progress: Callable[[int, int], None]) -> None:
    """Write the latents of every view of every picture, float16 [n, views, c, h, w], to `cache`: whole or not at all.

    Half precision rounds latents of unit variance by 2⁻¹¹ of their size: far less than what the codec itself loses.
    """
    n, (height, width) = len(feed.pictures), feed.pictures.pixels.shape[2:]
    shape = (n, feed.views, *codec.shape((width, height)))
    with files.replacing(cache) as beside:
        kept = np.lib.format.open_memmap(beside, mode="w+", dtype=np.float16, shape=shape)
        for start in range(0, n, 32):
            index = torch.arange(start, min(start + 32, n))
            for view in range(feed.views):
                pictures = feed.samples(index, torch.full_like(index, view))
                kept[start : start + 32, view] = codec.encode(pictures).cpu().numpy()
            progress(min(start + 32, n), n)
        kept.flush()
