"""CLIP's tokenizer, from the folder that diffusers and transformers keep it in."""

from collections.abc import Mapping
from functools import cached_property
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.condition.encoders.tokenizer import Tokenizer
from sfumato.errors import FormatError, quoted
from sfumato.store import FileStamps
from sfumato.wording import shortened

CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
VOCABULARY, MERGES, WHOLE = "vocab.json", "merges.txt", "tokenizer.json"
FILES = (CONFIG, MAP, ADDED, VOCABULARY, MERGES, WHOLE)
"""All files that ids may depend on."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
_SPECIAL_TOKENS = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END}
"""The special tokens of CLIP's own vocabulary, by their role; a configuration may name others."""
_CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")
ENDING = "</w>"
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""A special token, an English ending, letters, one digit, or a run of other signs."""
MOST_MERGES = 16 * 2**20


class ClipTokenizer:
    """Texts → the whole numbers of their tokens, always `length`: a start token, the tokens, an end token, and padding.

    Small letters, single spaces, and byte-pair encoding of each word with a sign for its end (CLIP, arXiv:2103.00020,
    section 2.4), by the same rules as the tokenizer of that name in transformers: special tokens that are written out
    in a text count as such, and so does the token for padding: `pad`, or the folder's own.

    Raises `FormatError` for a folder that holds no such tokenizer; what is wrong with its tokens is seen when they are
    first needed, since reading them takes longer than opening all weights does.
    """

    def __init__(self, folder: Path, pad: str | None = None) -> None:
        self.folder = folder
        self._seen = FileStamps(folder / name for name in FILES)
        config = _json(folder / CONFIG)
        if (kind := config.get("tokenizer_class", _CLASSES[0])) not in _CLASSES:
            raise FormatError(f"{folder / CONFIG} names a {quoted(kind)}; known tokenizers here: {', '.join(_CLASSES)}")
        longest = config.get("model_max_length", 77)
        if isinstance(longest, bool) or not isinstance(longest, int | float) or not longest >= 3:
            raise FormatError(f"{folder / CONFIG}: model_max_length should be 3 or more, not {quoted(longest)}")
        self.length = int(min(longest, 2**14))
        """The most that is read, special tokens and all, as the folder has it."""
        self._config, self._pad_token = config, pad
        if not _holds_vocabulary(folder):
            raise FormatError(
                f"{folder} holds no tokenizer: it should have {VOCABULARY} and {MERGES}, or {WHOLE}; copy them from the"
                " model's repository"
            )

    @cached_property
    def vocabulary(self) -> int:
        """How many tokens it knows."""
        return max(self._backend.get_vocab().values()) + 1

    @cached_property
    def pad(self) -> int:
        """The number of the token that pads."""
        return self._backend.token_to_id(self._added[0]["pad_token"])

    def ids(self, text: str, length: int) -> list[int]:
        """The text as `length` numbers; what is beyond is left out, but for the end token."""
        ids = self._tokenizer.ids(self._spelled(text), length)
        return ids + [self.pad] * (length - len(ids))

    def truncated(self, text: str, length: int) -> str:
        """The end of the text that `ids` leaves out; "" if nothing is."""
        return self._tokenizer.truncated(self._spelled(text), length)

    def _spelled(self, text: str) -> str:
        """The text with each token that stands for several vectors followed by the others, as diffusers' pipelines do:
        "<cat>" is "<cat> <cat>_1" where both were added (textual inversion, arXiv:2208.01618)."""
        if self._several:
            for token in dict.fromkeys(self._tokenizer.tokens(text)):
                text = text.replace(token, self._several.get(token, token))
        return text

    @cached_property
    def _several(self) -> dict[str, str]:
        """Of each added token that has others, what it stands for."""
        added = {token.content for token in self._backend.get_added_tokens_decoder().values()}
        found: dict[str, str] = {}
        for token in added:
            others = list(takewhile(added.__contains__, (f"{token}_{nth}" for nth in count(1))))
            if others:
                found[token] = " ".join([token, *others])
        return found

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self._backend)

    @cached_property
    def _backend(self) -> Any:
        self._seen.check()
        return _backend(self.folder, *self._added)

    @cached_property
    def _added(self) -> tuple[dict[str, str], list[dict[str, Any]]]:
        return _added(self.folder, self._config, self._pad_token)


def _json(path: Path) -> dict[str, Any]:
    return files.read_json(path) if path.is_file() else {}


def _vocabulary(folder: Path) -> tuple[Any, Any]:
    """The numbers of all tokens, and which pairs are joined, first those that are joined first."""
    if (folder / WHOLE).is_file():
        model = files.read_json(folder / WHOLE).get("model")
        if not isinstance(model, dict) or model.get("end_of_word_suffix") != ENDING:
            raise FormatError(f"{folder / WHOLE} is no tokenizer of CLIP: its words should end in {ENDING}")
        return model.get("vocab"), model.get("merges")
    return files.read_json(folder / VOCABULARY), _lines(folder / MERGES)


def _holds_vocabulary(folder: Path) -> bool:
    return (folder / WHOLE).is_file() or all((folder / name).is_file() for name in (VOCABULARY, MERGES))


def _lines(path: Path) -> list[str]:
    """The lines of a merges.txt, but for its version."""
    if path.stat().st_size > MOST_MERGES:
        raise FormatError(f"{path} is larger than {MOST_MERGES // 2**20} MB: not the merges of CLIP")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is damaged: {error}; copy it again") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return [line for line in lines if line and not line.startswith("#version")]


def _added(folder: Path, config: Mapping[str, Any], pad: str | None) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The special token of each role, and the flags of tokens that are found in a text before it is taken
    apart, in the order in which they are added.

    What a tokenizer_config.json says of added tokens counts alone; without it, older files beside it do.
    """
    roles = _SPECIAL_TOKENS | _special(config)
    if "added_tokens_decoder" in config:
        decoder = _numbered(config["added_tokens_decoder"], folder)
    else:
        older = _special(_json(folder / MAP))
        roles |= {
            part: {**value, "special": True} if isinstance(value, dict) else value for part, value in older.items()
        }
        named = {_content(value, folder) for value in roles.values()}
        new = _json(folder / ADDED).items()
        decoder = _numbered(
            {str(number): {"content": token, "special": token in named} for token, number in new}, folder
        )
        whole = _json(folder / WHOLE).get("added_tokens") or []
        if not isinstance(whole, list):
            raise FormatError(f"{folder / WHOLE}: added_tokens should be a list, not {quoted(whole)}; copy it again")
        decoder |= _numbered({str(_part(token, "id")): token for token in whole}, folder)
    roles |= {"pad_token": pad} if pad else {}
    special_tokens = {part: _content(value, folder) for part, value in roles.items()}
    known = {_content(token, folder) for token in decoder.values()}
    in_order = [decoder[number] for number in sorted(decoder)]
    tokens = [*in_order, *(value for part, value in roles.items() if special_tokens[part] not in known)]
    return special_tokens, [_flags(token, _content(token, folder), special_tokens) for token in tokens]


def _flags(token: Any, content: str, special_tokens: Mapping[str, str]) -> dict[str, Any]:
    """A token as the library takes it; one that is given as a text alone is a special one."""
    flags = token if isinstance(token, dict) else {"special": True}
    special = bool(flags.get("special", False))
    return {
        "content": content,
        "normalized": bool(flags.get("normalized", not special)),
        "special": special or content in special_tokens.values(),
        **{flag: bool(flags.get(flag, False)) for flag in ("single_word", "lstrip", "rstrip")},
    }


def _special(config: Mapping[str, Any]) -> dict[str, Any]:
    return {part: config[part] for part in _SPECIAL_TOKENS if config.get(part) is not None}


def _numbered(tokens: Any, folder: Path) -> dict[int, Any]:
    """Pieces by their numbers."""
    if not isinstance(tokens, dict) or not all(str(number).isdecimal() for number in tokens):
        raise FormatError(f"the tokenizer in {folder} adds tokens without their numbers; copy it again")
    return {int(number): token for number, token in tokens.items()}


def _part(token: Any, name: str) -> Any:
    return token.get(name) if isinstance(token, dict) else None


def _content(token: Any, folder: Path) -> str:
    """The text of a token that is given as a text or as a table."""
    content = token if isinstance(token, str) else _part(token, "content")
    if not isinstance(content, str) or not content:
        raise FormatError(f"the tokenizer in {folder} names a token {quoted(token)}, which is no text; copy it again")
    return content


def _backend(folder: Path, special_tokens: Mapping[str, str], added: list[dict[str, Any]]) -> Any:
    """The tokenizer as the library has it. Pieces that are new get the numbers after the vocabulary's."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary, merges = _vocabulary(folder)
    try:
        pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]
        backend: Any = Tokenizer(
            models.BPE(vocabulary, pairs, end_of_word_suffix=ENDING, unk_token=special_tokens["unk_token"])  # pyright: ignore
        )
    except Exception as error:  # the library raises no narrower kind
        raise FormatError(
            f"the tokenizer in {folder} should map tokens to whole numbers and join pairs of tokens, and does not:"
            f" {shortened(str(error), 160)}; copy it again"
        ) from error
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.add_tokens([AddedToken(**token) for token in added])
    start, end = (
        (special_tokens[part], backend.token_to_id(special_tokens[part])) for part in ("bos_token", "eos_token")
    )
    backend.post_processor = processors.RobertaProcessing(end, start, trim_offsets=False, add_prefix_space=False)
    return backend
