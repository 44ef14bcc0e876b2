"""Prompts as Stable Diffusion reads them: by one or two of CLIP's text encoders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import files
from sfumato.condition.clip import single_file as clip_file
from sfumato.condition.clip.source import TOWERS, Encoders, Family, Folders, Source, family_of_folder, found_folder
from sfumato.condition.clip.tokenizer import ClipTokenizer
from sfumato.condition.encoders.pretrained import check_pinned
from sfumato.condition.encoders.protocol import is_read
from sfumato.condition.normalize import as_text
from sfumato.condition.protocol import Conditioner, Prompt
from sfumato.core.condition import Condition
from sfumato.core.defaults import torch_defaults
from sfumato.errors import FormatError, InputError, quoted
from sfumato.nn.embedding import sinusoidal
from sfumato.nn.text.clip_tower import ClipTower

SKIP = 1
"""SDXL reads the states before the last layer."""
RECENT = 64
"""How many texts are remembered with their states: a prompt, and the empty one, are asked for at each picture."""


@dataclass(frozen=True)
class ClipText(Conditioner):
    """A prompt as the states that CLIP's text encoders give for it, all of them attended to, padding and all.

    `name` is a folder, or a repository of the Hub, in the layout of diffusers, or a single file in the original layout;
    of the latter, `config` is the folder with configurations and tokenizers, "" for those that were published (see
    `condition/clip/single_file.py`). `ClipText.open` fills in the rest:

    - `sd` (Stable Diffusion 1 and 2, arXiv:2112.10752, section 3.3): the last states [b, 77, width] of one encoder;
    - `sdxl` (arXiv:2307.01952, sections 2.1 and 2.2): through `context` the states of two encoders before their last
      layer, side by side; through `vector` the second's vector of the whole text [b, pooled], then the height and width
      of the picture, its `crop` (top, left), and height and width again, each as `frequency_width` sinusoids;
    - `sdxl-refiner`: the second encoder alone, and in place of the last two an aesthetic `score`.

    The empty prompt is the encoding of ""; where `zeros`, the states and the vector of None are all
    zero, and "" still by its encoding. Prompts are read as they are, emoji too. `size` (width, height) is what `at`
    sets. `sha256` are those of the encoders' weights and `tokenizer_sha256` those of the tokenizers: others are
    refused. Only safetensors are read, when first needed, and no code is run.
    """

    name: str
    family: Family
    width: int
    pooled: int = 0
    zeros: bool = False
    size: tuple[int, int] = (1024, 1024)
    crop: tuple[int, int] = (0, 0)
    score: float = 6.0
    negative_score: float = 2.5
    frequency_width: int = 256
    sha256: tuple[str, ...] = ()
    tokenizer_sha256: tuple[str, ...] = ()
    dropout: float = 0.1
    config: str = ""

    def __post_init__(self) -> None:
        vars(self).update(_place=files.absolute(self.name), _config=files.absolute(self.config))  # read later
        if self.family not in TOWERS:
            raise InputError(f"family must be one of {', '.join(TOWERS)}, not {quoted(self.family)}")
        for hashes in (self.sha256, self.tokenizer_sha256):
            if len(hashes) not in (0, len(TOWERS[self.family])):
                raise InputError(
                    f"{self.family} has {len(TOWERS[self.family])} text encoders, not {len(hashes)}: give each its hash"
                )
        if self.frequency_width < 2 or self.frequency_width % 2:
            raise InputError(f"frequency_width must be even and 2 or more, not {self.frequency_width}")
        if min(self.size) < 1 or min(self.crop) < 0:
            raise InputError(
                f"a picture has a size of 1 or more and is cropped by 0 or more, not {self.size, self.crop}"
            )

    @classmethod
    @torch_defaults()
    def open(cls, name: str, frequency_width: int = 256, pinned: bool = True, config: str = "") -> "ClipText":
        """The text encoders in a folder, repository or file, with sizes and, if `pinned`, hashes as they are found.

        Raises `DataError` where it is not to be had, and `FormatError` where there are no such encoders in it.
        """
        name, config = files.absolute(name), files.absolute(config)
        if clip_file.is_single(name):
            family, zeros = clip_file.family_of_file(Path(name), config)
        else:
            family, zeros = family_of_folder(found_folder(name), name)
        opened = cls(name, family, 0, config=config)
        towers = opened._encoders.source.outlines()
        _ = opened.tokenizers  # a folder without them is refused now
        found = opened._but(
            width=sum(tower.width for tower in towers),
            pooled=0 if family == "sd" else towers[-1].pooled,
            zeros=zeros,
            frequency_width=frequency_width,
        )
        return found.pinned() if pinned else found

    def pinned(self) -> "ClipText":
        """The same conditioner, which from now on takes no other weights and tokenizers than those there are."""
        source = self._encoders.source
        found = self._but(
            sha256=self.sha256 or source.digests(), tokenizer_sha256=self.tokenizer_sha256 or source.tokenizer_digests()
        )
        if "towers" not in vars(self._encoders):  # what is still to be read is held to the hashes
            vars(found)["_encoders"] = Encoders(source, found.sha256, found.tokenizer_sha256)
        return found

    @property
    def towers(self) -> tuple[ClipTower, ...]:
        """The text encoders, read when they are first asked for."""
        return self._encoders.towers

    @property
    def tokenizers(self) -> tuple[ClipTokenizer, ...]:
        """Their tokenizers, likewise."""
        return self._encoders.tokenizers

    @property
    def widths(self) -> dict[str, int]:
        if self.family == "sd":
            return {"context": self.width}
        numbers = len(self._numbers(self.score))
        return {"vector": self.pooled + numbers * self.frequency_width, "context": self.width}

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        return self._condition(prompts, self.score)

    def null(self, prompts: Sequence[Prompt]) -> Condition:
        """The same, but for the aesthetic score, which is `negative_score`."""
        return self._condition(prompts, self.negative_score)

    def at(self, size: tuple[int, ...]) -> "ClipText":
        """The same conditioner for pictures of another size (width, height)."""
        width, height = size
        return self._but(size=(width, height))

    def check(self, network: nn.Module) -> None:
        check_pinned(self.name, self.sha256, self.tokenizer_sha256)

    def normalize(self, prompt: Prompt) -> str:
        """The prompt as it is taken apart: as it is."""
        return as_text(prompt)

    def check_prompt(self, prompt: Prompt) -> None:
        self.normalize(prompt)

    def truncated(self, prompt: Prompt) -> str:
        """The end of the prompt that is lost, because no more than 77 tokens are read; "" if nothing is."""
        return self.tokenizers[0].truncated(self.normalize(prompt), min(one.length for one in self.tokenizers))

    def fingerprint(self) -> str:
        """A line that changes whenever the condition of a text may."""
        weights = self.sha256 or self._encoders.source.digests()
        tokenizers = self.tokenizer_sha256 or self._encoders.source.tokenizer_digests()
        return " ".join(["clip", self.family, *weights, *tokenizers])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "ClipText":
        """The same conditioner, its encoders on `device` and with weights of `dtype`; its conditions stay float32."""
        for tower in self.towers if dtype or is_read(self._encoders, device, "towers") else ():
            tower.to(device, dtype)
        self._encoders.recent.clear()
        return self

    def _condition(self, prompts: Sequence[Prompt], score: float) -> Condition:
        texts = [self.normalize(prompt) for prompt in prompts]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}  # each text is encoded once
        states, pooled = self._recent(list(places))
        rows = torch.tensor([places[text] for text in texts], device=states.device)
        states, pooled = states[rows], pooled[rows]
        if self.zeros:
            given = torch.tensor([prompt is not None for prompt in prompts], device=states.device)
            states, pooled = states * given[:, None, None], pooled * given[:, None]
        if self.family == "sd":
            return Condition(context=states)
        numbers = torch.tensor(self._numbers(score), device=states.device, dtype=torch.float32)
        sinusoids = sinusoidal(numbers, self.frequency_width, cosine_first=True, frequency_shift=0.0).flatten()
        return Condition(torch.cat([pooled, sinusoids.expand(len(rows), -1)], dim=1), states)

    def _numbers(self, score: float) -> tuple[float, ...]:
        """The numbers that SDXL is conditioned on beside the text: sizes, crop, score."""
        width, height = self.size
        last = (score,) if self.family == "sdxl-refiner" else (height, width)
        return tuple(map(float, (height, width, *self.crop, *last)))

    def _recent(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """What `_encoded` gives; each text is encoded once, as long as it is among the last `RECENT`, and alone, so
        that its states do not differ, by rounding, with what was asked for before."""
        recent = self._encoders.recent
        known = {text: encoded for text in texts if (encoded := recent.get(text))}
        for text in [text for text in texts if text not in known]:
            states, pooled = self._encoded([text])
            known[text] = states[0], pooled[0]
        recent |= known
        for text in list(recent)[:-RECENT]:
            recent.pop(text, None)  # another thread may have been here
        states, pooled = zip(*(known[text] for text in texts), strict=True)
        return torch.stack(states), torch.stack(pooled)

    @torch_defaults()  # the states are kept for later, when gradients may be wanted
    @torch.no_grad()
    def _encoded(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Texts → states [b, length, width] and the last encoder's vectors of whole texts [b, pooled], in float32."""
        skip = None if self.family == "sd" else SKIP
        length = min(one.length for one in (*self.towers, *self.tokenizers))
        states, pooled = [], torch.empty(0)
        for tower, tokenizer in zip(self.towers, self.tokenizers, strict=True):
            if tokenizer.vocabulary > tower.vocabulary:
                raise FormatError(
                    f"{tokenizer.folder} gives {tokenizer.vocabulary:,} numbers, and its text encoder knows"
                    f" {tower.vocabulary:,}: take both from the same model"
                )
            ids = [tokenizer.ids(text, length) for text in texts]
            given, pooled = tower(torch.tensor(ids, device=tower.words.device), skip)
            states.append(given.float())
        found = sum(tower.width for tower in self.towers), 0 if self.family == "sd" else pooled.shape[1]
        if found != (expected := (self.width, self.pooled)):
            raise FormatError(
                f"{self.name} gives vectors of {found[0]} for a token and {found[1]} for a text, and {expected[0]} and"
                f" {expected[1]} were expected: make it by ClipText.open({quoted(self.name)})"
            )
        return torch.cat(states, dim=2), pooled.float()

    def _but(self, **changes: Any) -> "ClipText":
        """The same with other arguments, and the same encoders: whichever reads them first, they are read once."""
        other = replace(self, **changes)
        vars(other)["_encoders"] = self._encoders
        return other

    def sampled(self) -> str:
        """A digest of encoders and tokenizers that reads a few numbers of each weight."""
        return self._encoders.source.sampled()

    @cached_property
    def _encoders(self) -> Encoders:
        single = clip_file.is_single(self.name)
        source: Source = (
            clip_file.SingleFile(Path(vars(self)["_place"]), vars(self)["_config"])
            if single
            else Folders(found_folder(vars(self)["_place"]), self.family)
        )
        return Encoders(source, self.sha256, self.tokenizer_sha256)
