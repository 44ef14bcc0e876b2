"""Captions encoded once, and kept in one file for training."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sfumato import files
from sfumato.condition.protocol import Conditioner, Prompt
from sfumato.core.condition import Condition
from sfumato.errors import FormatError, NonFiniteError

if TYPE_CHECKING:
    from sfumato.condition.text import EncodedText

BATCH = 64
TAKEN_APART = 1000
"""How many captions are looked at to say how much room all of them need."""
KIND = "captions"


class CachedText(Conditioner):
    """A conditioner that answers for `captions` from the file `path`, and for other prompts as `conditioner` does.

    Each distinct caption, and the empty one, is encoded once, those of like length together; `progress(done, of)` is
    called as they are. Tokens are kept in float16, 3 parts in 10,000 off at most, and texts' own vectors in float32:
    30,000 captions of 12 tokens of 384 take 320 MB. The file is written whole or not at all, and is used again as long
    as captions and `conditioner.fingerprint()` are the same; else it is written anew.

    It is for training: what a system is saved with is `conditioner`. Raises `FormatError` for a file at `path` that is
    damaged or something else, which is left as it is.
    """

    def __init__(
        self,
        conditioner: "EncodedText",
        captions: Iterable[Prompt],
        path: str | Path,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self.conditioner, self.dropout = conditioner, conditioner.dropout
        texts = _texts(conditioner, captions)
        self._places = {text: place for place, text in enumerate(texts)}
        about = {"kind": KIND, "encoder": conditioner.fingerprint(), "captions": _digest(texts)}
        kept = _reopened(Path(path), about)
        if kept is None:
            kept = _encoded(conditioner, texts, progress)
            files.write_tensors(Path(path), kept, about)
        self._vectors, self._tokens, ends = kept["vectors"], kept["tokens"], kept["ends"]
        self._lengths = ends.diff(prepend=ends.new_zeros(1))
        self._starts = ends - self._lengths

    @property
    def widths(self) -> dict[str, int]:
        return self.conditioner.widths

    @property
    def saved(self) -> Conditioner:
        return self.conditioner

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        texts = [self.conditioner.normalize(prompt) for prompt in prompts]
        others = list(dict.fromkeys(text for text in texts if text not in self._places))
        if not others:
            return self._kept(texts)
        known = list(dict.fromkeys(text for text in texts if text in self._places))
        parts = [*([self._kept(known)] if known else []), self.conditioner(others).to("cpu")]
        rows = {text: row for row, text in enumerate([*known, *others])}
        at = torch.tensor([rows[text] for text in texts])
        return Condition.cat(parts).map(lambda value: value[at])

    def _kept(self, texts: Sequence[str]) -> Condition:
        """The answer for captions that are in the file."""
        at = torch.tensor([self._places[text] for text in texts])
        starts, lengths = self._starts[at, None], self._lengths[at, None]
        reach = torch.arange(int(lengths.max()))
        mask = reach < lengths
        tokens = self._tokens[torch.where(mask, starts + reach, 0)].float()
        return Condition(self._vectors[at], tokens.mul_(mask[..., None]), mask)


def captions_size(conditioner: "EncodedText", captions: Iterable[Prompt]) -> int:
    """The bytes that `CachedText` takes to keep these captions; from a thousand of them, if there are more."""
    texts = _texts(conditioner, captions)
    some = texts[:: -(-len(texts) // TAKEN_APART)]
    tokens = sum(len(conditioner.encoder.tokenizer.ids(text, conditioner.length)) for text in some) / len(some)
    widths = conditioner.widths
    return round(len(texts) * (4 * widths["vector"] + 2 * tokens * widths["context"] + 8))


def _texts(conditioner: "EncodedText", captions: Iterable[Prompt]) -> list[str]:
    """Each distinct text, as it is read, and the empty one."""
    return sorted({"", *(conditioner.normalize(caption) for caption in captions)})


def _encoded(
    conditioner: "EncodedText", texts: Sequence[str], progress: Callable[[int, int], None]
) -> dict[str, Tensor]:
    """The vectors of all texts: those of the tokens one after another, with the place where each text's end."""
    tokenizer = conditioner.encoder.tokenizer
    lengths = torch.tensor([len(tokenizer.ids(text, conditioner.length)) for text in texts])
    ends = lengths.cumsum(0)
    vectors = torch.empty(len(texts), conditioner.widths["vector"], dtype=torch.float32)
    tokens = torch.empty(int(ends[-1]), conditioner.widths["context"], dtype=torch.float16)
    order: list[int] = lengths.argsort(stable=True).tolist()
    for first in range(0, len(texts), BATCH):
        places = order[first : first + BATCH]
        for place, (vector, own) in zip(places, _rows(conditioner([texts[place] for place in places])), strict=True):
            vectors[place] = vector
            tokens[ends[place] - len(own) : ends[place]] = own
        progress(first + len(places), len(texts))
    if not (vectors.isfinite().all() and tokens.isfinite().all()):
        raise NonFiniteError(
            "the text encoder gives numbers that are not finite, or too large for float16: take another"
        )
    return {"vectors": vectors, "tokens": tokens, "ends": ends}


def _rows(encoded: Condition) -> list[tuple[Tensor, Tensor]]:
    """The vector of each text, and those of its tokens without what was padded; on the CPU."""
    assert encoded.vector is not None and encoded.context is not None and encoded.mask is not None
    lengths = encoded.mask.sum(1).tolist()
    rows = zip(encoded.vector.cpu(), encoded.context.cpu(), lengths, strict=True)
    return [(vector, tokens[:length]) for vector, tokens, length in rows]


def _reopened(path: Path, about: dict[str, Any]) -> dict[str, Tensor] | None:
    """What is in the file, if it was written for the same; None if there is none, or if it was for something else."""
    if not path.exists():
        return None
    try:
        kept, written = files.read_tensors(path)
    except FormatError as error:
        raise FormatError(f"the captions kept in {path} cannot be read: {error}; or remove it") from error
    if written.get("kind") != KIND:
        raise FormatError(f"{path} holds something else than captions: give another path to keep them in")
    return kept if written == about else None


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0\n")
    return digest.hexdigest()
