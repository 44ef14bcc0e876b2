"""The text in a file: which encodings are known, and where one is wrong."""

import codecs

from sfumato.errors import DataError

# Windows' Notepad calls the second "Unicode".
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_text(data: bytes, place: str) -> str:
    """The text in a file's bytes, with "\\n" for every kind of line's end.

    It is UTF-8, or UTF-16 with a mark of its byte order. Raises DataError, naming `place` and line, for other
    bytes.
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + data[len(mark) :][: error.start].decode(encoding, "replace").count("\n")
        wanted = "expected UTF-8, or UTF-16 with its mark, came other bytes"
        raise DataError(f"{place} line {line}: {wanted} ({error.reason}); save it as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{place}: expected text, came zero bytes; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
