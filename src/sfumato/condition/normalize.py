"""Prompts as text encoders read them."""

import re
import unicodedata

from sfumato.condition.protocol import Prompt
from sfumato.errors import InputError, quoted
from sfumato.wording import well_formed

# The blocks of Unicode that hold emoji, and the emoji that stand alone in other blocks. Left out are those that are
# signs in running text first, and become pictures by a selector alone: digits, #, *, ©, ®, ™, ℹ and some arrows.
_PICTURES = (
    "\U0001f000-\U0001faff\u2600-\u27bf\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe"
    "\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u203c\u2049\u3030\u303d\u3297\u3299\u20e3"
)
_SELECTORS = "\ufe0e\ufe0f"
_JOINER = "\u200d"
_EMOJI = re.compile(f"[{_PICTURES}{_SELECTORS}][{_PICTURES}{_SELECTORS}{_JOINER}]*")
_BESIDE = re.compile(  # an emoji after another, but for what changes the one before it, and the letters of flags
    f"(?<=[{_PICTURES}{_SELECTORS}])\\s*(?=[{_PICTURES}])(?![\U0001f3fb-\U0001f3ff\U0001f1e6-\U0001f1ff\u20e3])"
)


def normalize(prompt: Prompt) -> str:
    """The prompt with each emoji by its name and single spaces: "I ♥ 🐱" → "I black heart suit cat face".

    Few encoders know emoji, and those that do not take them all for the same unknown word. Names are those of Unicode,
    one for each code point of a sequence. None is the empty text. Raises `InputError` for what is no text.
    """
    return " ".join(_EMOJI.sub(_named, as_text(prompt)).split())


def apart(text: str) -> str:
    """A text with commas between emoji that stand side by side."""
    return _BESIDE.sub(", ", text)


def as_text(prompt: Prompt) -> str:
    """The prompt's own signs; None is the empty text. Raises `InputError` for what is no text."""
    if prompt is None:
        return ""
    if not isinstance(prompt, str):
        raise InputError(f"this system takes prompts in words, not {quoted(prompt)}: give a text, or leave it out")
    return well_formed(prompt)


def _named(found: re.Match[str]) -> str:
    """The names in a sequence of emoji, set apart; nothing for a selector that follows a common sign."""
    names = [unicodedata.name(sign, sign).lower() for sign in found[0] if sign not in _SELECTORS + _JOINER]
    return f" {' '.join(names)} " if names else ""
