"""Texts as the numbers of their tokens."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sfumato.errors import FormatError
from sfumato.wording import shortened

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend


@contextlib.contextmanager
def _able(what: str) -> Iterator[None]:
    """What the library raises in the block, panics too, becomes a `FormatError` that says `what`."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise FormatError(f"{what} ({shortened(str(error), 160)})") from error


class Tokenizer:
    """The tokenizer that a `tokenizer.json` describes, or one of the library's own; what it says of cutting and padding
    does not count."""

    def __init__(self, data: "str | Backend") -> None:
        from tokenizers import Tokenizer as Backend

        with _able("this is no tokenizer that can be read; give a whole tokenizer.json"):
            self._backend = Backend.from_str(data) if isinstance(data, str) else data
        self._backend.no_truncation()
        self._backend.no_padding()
        self._special = self._backend.num_special_tokens_to_add(False)

    @property
    def vocabulary(self) -> int:
        """One more than the highest number of a token: how many vectors a table of them needs."""
        return max(self._backend.get_vocab().values(), default=-1) + 1

    def to_str(self) -> str:
        """The text of its tokenizer.json."""
        return self._backend.to_str()

    def ids(self, text: str, length: int) -> list[int]:
        """The text's tokens, at most `length` with the special tokens around them."""
        encoding = self._encoding(text)
        encoding.truncate(self._room(length))
        return self._backend.post_process(encoding).ids

    def truncated(self, text: str, length: int) -> str:
        """The end of the text that `ids` leaves out; "" if nothing is."""
        encoding = self._encoding(text)
        room = self._room(length)
        return text[encoding.offsets[room - 1][1] :].strip() if len(encoding) > room else ""

    def tokens(self, text: str) -> list[str]:
        """The text's tokens by their names."""
        return self._encoding(text).tokens

    def _encoding(self, text: str) -> "Encoding":
        with _able("this tokenizer cannot take the text apart; take another one"):
            return self._backend.encode(text, add_special_tokens=False)

    def _room(self, length: int) -> int:
        return max(length - self._special, 1)
