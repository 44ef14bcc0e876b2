"""Texts as a medium."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from sfumato.arguments import listed, own
from sfumato.errors import DataError, InputError, ShapeError, quoted
from sfumato.media.image.page import text_page
from sfumato.media.image.sheet import sheet
from sfumato.media.keep import keep_all
from sfumato.media.metadata import pick_metadata
from sfumato.media.protocol import Keep, Record, Size
from sfumato.media.record import beside_bytes, pick_format, read_beside
from sfumato.media.text.tokens import MASK_ID, PAD_ID, open_text_tokenizer
from sfumato.wording import brief, count

if TYPE_CHECKING:
    from PIL.Image import Image
    from tokenizers import Tokenizer

MOST_LENGTH = 2**20
"""The longest text."""
_MOST_BYTES = 2**26
"""The largest file."""


@dataclass(frozen=True, repr=False)
class Text:
    """Texts: token ids [length], int64, stored as they are; a size is (length,).

    `tokenizer` is the text of a tokenizer.json that `fit_text_tokenizer` gave. A text that is shorter is followed by
    `<pad>`, and ends at the first. A tokenizer of another make is a `FormatError`.
    """

    tokenizer: str
    noun: ClassVar[str] = "text"
    plural: ClassVar[str] = "texts"
    limit: ClassVar[float | None] = None
    endings: ClassVar[tuple[str, ...]] = (".txt",)
    columns: ClassVar[tuple[str, ...]] = ("text", "document")
    formats: ClassVar[tuple[str, ...]] = ("txt",)
    pad_id: ClassVar[int] = PAD_ID
    mask_id: ClassVar[int] = MASK_ID
    """The id of `<mask>`, for absorbing diffusion."""

    @property
    def channels(self) -> int:
        """1: a text has no axis of channels."""
        return 1

    def __post_init__(self) -> None:
        _ = self._backend  # one of another make stops here

    def __reduce__(self) -> tuple[Any, ...]:
        return Text, (self.tokenizer,)  # the library's own copy would forget a setting

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.tokenizer.encode(errors="surrogatepass")).hexdigest()
        return f"Text(tokenizer of SHA-256 {digest[:12]})"

    @property
    def vocabulary(self) -> int:
        """How many token ids there are, `<pad>` and `<mask>` among them."""
        return self._backend.get_vocab_size()

    def shape(self, size: Size) -> tuple[int, ...]:
        """[length]."""
        return size

    def check_size(self, size: Any) -> Size:
        """(length,), from 1 to `MOST_LENGTH` tokens; a `ShapeError` for anything else."""
        found = listed("size", own(size))
        if len(found) != 1 or type(found[0]) is not int or not 1 <= found[0] <= MOST_LENGTH:
            raise ShapeError(f"size must be (length,), from 1 to {MOST_LENGTH:,} tokens, not {quoted(size)}")
        return tuple(found)

    def parse_size(self, text: str) -> Size:
        """The number of tokens that "256" spells."""
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InputError(f"a size reads TOKENS, as in 256, not {quoted(text)}")
        return (int(text),)

    def size_text(self, size: Size) -> str:
        """ "256 tokens"."""
        return count(size[0], "token")

    def decode(self, data: bytes, name: str, size: Size | None = None) -> np.ndarray:
        """The text in a file's bytes, UTF-8, as int64 [length]: cut after `size` tokens, or followed by `<pad>` up to
        them."""
        shown = brief(name)
        if not data or len(data) > _MOST_BYTES:
            came = "an empty file" if not data else f"one of {len(data):,} bytes, where {_MOST_BYTES:,} is the most"
            raise DataError(f"{shown}: expected a text, came {came}; replace it or take it out")
        try:
            ids = self.ids(data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DataError(
                f"{shown}: expected a text in UTF-8, came other bytes; save it as UTF-8 or take it out"
            ) from error
        if size is not None:
            ids = [*ids[: size[0]], *[self.pad_id] * (size[0] - len(ids))]
        return np.array(ids, dtype=np.int64)

    def floats(self, stored: Tensor) -> Tensor:
        """Token ids as they are."""
        return stored.long()

    def ids(self, text: str) -> list[int]:
        """The tokens of a text; what it spells like `<pad>` is text."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def text(self, datum: Tensor) -> str:
        """Token ids [length] → the text up to the first `<pad>`; masks are spelled `<mask>`, and bytes that are no
        UTF-8 are U+FFFD."""
        if datum.ndim != 1 or datum.is_floating_point() or datum.is_complex() or not len(datum):
            raise ShapeError(f"a text is [length] of whole numbers, not {list(datum.shape)} of {datum.dtype}")
        ids = datum.tolist()
        if not 0 <= min(ids) <= max(ids) < self.vocabulary:
            raise InputError(f"token ids are from 0 to {self.vocabulary - 1:,}, not {min(ids):,} to {max(ids):,}")
        end = ids.index(self.pad_id) if self.pad_id in ids else len(ids)
        return self._backend.decode(ids[:end], skip_special_tokens=False)

    def write(
        self, datum: Tensor, record: Record, stem: Path, format: str | None = None, metadata: Keep = "full"
    ) -> Path:
        """Write a text [length] as UTF-8, and nothing else into its file: any mark of ours would be part of the text.

        Its metadata stands beside it, in a file of its name and ".json" that holds the text's SHA-256 too.
        """
        ending, data = f".{pick_format(self, format)}", self.text(datum).encode()
        held = pick_metadata(record, metadata)
        beside = {} if held == (None, None) else {f"{ending}.json": beside_bytes(*held, data)}
        return keep_all(stem, {**beside, ending: data})

    @staticmethod
    def read_record(path: Path) -> Record:
        """The record beside a text that `write` wrote, unless the text was edited since."""
        return read_beside(path)

    def preview(self, data: Tensor, columns: int | None = None, *, captions: Sequence[str] | None = None) -> "Image":
        """Texts [n, length] as pages on one sheet, each its beginning."""
        return sheet([text_page(self.text(one)) for one in data], columns, captions=captions)

    def html(self, datum: Tensor) -> str:
        """A text as it is, in lines that wrap."""
        return f'<pre style="white-space:pre-wrap;max-width:40em;margin:0">{escape(self.text(datum))}</pre>'

    @cached_property
    def _backend(self) -> "Tokenizer":
        return open_text_tokenizer(self.tokenizer)
