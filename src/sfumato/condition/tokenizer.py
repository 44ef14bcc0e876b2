"""Texts as the whole numbers that stand for their pieces."""

from typing import TYPE_CHECKING

from sfumato.errors import FormatError

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend


class Tokenizer:
    """The tokenizer that a `tokenizer.json` describes, or one of the library's own; what it says of cutting and padding
    does not count."""

    def __init__(self, data: "str | Backend") -> None:
        from tokenizers import Tokenizer as Backend

        try:
            self._backend = Backend.from_str(data) if isinstance(data, str) else data
        except Exception as error:  # the library raises no narrower kind
            raise FormatError(f"this is no tokenizer that can be read: {error}; give a whole tokenizer.json") from error
        self._backend.no_truncation()
        self._backend.no_padding()
        self._marks = self._backend.num_special_tokens_to_add(False)

    @property
    def vocabulary(self) -> int:
        """How many pieces there are."""
        return self._backend.get_vocab_size()

    def ids(self, text: str, length: int) -> list[int]:
        """The text's pieces, at most `length` with the marks that the tokenizer puts around them."""
        pieces = self._pieces(text)
        pieces.truncate(self._room(length))
        return self._backend.post_process(pieces).ids

    def cut(self, text: str, length: int) -> str:
        """The end of the text that `ids` leaves out; "" if nothing is."""
        pieces = self._pieces(text)
        room = self._room(length)
        return text[pieces.offsets[room - 1][1] :].strip() if len(pieces) > room else ""

    def pieces(self, text: str) -> list[str]:
        """The text's pieces by their names."""
        return self._pieces(text).tokens

    def _pieces(self, text: str) -> "Encoding":
        return self._backend.encode(text, add_special_tokens=False)

    def _room(self, length: int) -> int:
        return max(length - self._marks, 1)
