"""XMP packets (ISO 16684-1): metadata as RDF, which cameras, editors and photo archives read.

A packet of ours holds `Iptc4xmpExt:DigitalSourceType` of the IPTC Photo Metadata Standard and, where a format has no
place of its own for it, the record.
"""

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import escape

SOURCE_TYPE, RECORD, EXTENDED = "Iptc4xmpExt:DigitalSourceType", "sfumato:record", "xmpNote:HasExtendedXMP"
"""The properties that are written here: a URL; JSON in ASCII; the name of a second packet."""
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SPACES = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "sfumato": "urn:sfumato:metadata/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
}
MOST_XMP = 16 * 2**20
"""The most bytes of a packet that are read."""
_MOST_ELEMENTS = 10_000


def xmp_packet(properties: Mapping[str, str]) -> bytes:
    """The packet that holds these properties, in UTF-8."""
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{xmp(properties)}<?xpacket end="r"?>'.encode()


def xmp(properties: Mapping[str, str]) -> str:
    """The element of a packet."""
    used = dict.fromkeys(name.partition(":")[0] for name in properties)
    spaces = "".join(f' xmlns:{prefix}="{_SPACES[prefix]}"' for prefix in used)
    held = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in properties.items())
    described = f'<rdf:Description rdf:about=""{spaces}>{held}</rdf:Description>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">{described}</rdf:RDF></x:xmpmeta>'


def read_xmp(data: bytes) -> dict[str, str]:
    """The properties of `SOURCE_TYPE`, `RECORD` and `EXTENDED` in a packet of anybody's: none of one that is damaged,
    too large, or declares entities."""
    names = {
        f"{{{_SPACES[prefix]}}}{name}": f"{prefix}:{name}"
        for prefix, name in map(_split, (SOURCE_TYPE, RECORD, EXTENDED))
    }
    try:
        found = {names[name]: text.strip() for name, text in _properties(data) if name in names}
    except (ValueError, ElementTree.ParseError):
        return {}
    return {name: text for name, text in found.items() if text}


def _split(name: str) -> tuple[str, str]:
    prefix, _, local = name.partition(":")
    return prefix, local


def _properties(data: bytes) -> Iterator[tuple[str, str]]:
    """The simple properties of a packet: elements and attributes of its descriptions."""
    text = data.rstrip(b"\0").decode("utf-8-sig")
    if len(data) > MOST_XMP or text.count("<") > _MOST_ELEMENTS or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError
    for described in ElementTree.fromstring(text).iter(f"{{{_RDF}}}Description"):
        yield from described.items()
        yield from ((one.tag, one.text or one.get(f"{{{_RDF}}}resource", "")) for one in described)
