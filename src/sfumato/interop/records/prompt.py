"""What other tools read in a prompt, and is plain text here."""

import re

_NETWORK = re.compile(r"<\s*(lora|lyco|hypernet|embed|embedding)\s*:([^:<>]{1,200})(?::[^<>]{0,200})?>", re.IGNORECASE)
_WEIGHT = re.compile(r"\([^()]{1,200}:\s*-?[0-9.]{1,9}\)|\[[^\[\]]{1,200}:[^\[\]]{0,200}\]|\(\([^()]{1,200}\)\)")
_KINDS = {"lora": "LoRA", "lyco": "LyCORIS", "hypernet": "hypernetwork"}


def plain_prompt(prompt: str) -> tuple[str, list[str]]:
    """A prompt without the networks that it calls, as in `<lora:name:0.8>`, and what of it is not to be had here."""
    beyond = [f"{_KINDS.get(kind.lower(), 'embedding')} {name.strip()}" for kind, name in _NETWORK.findall(prompt)]
    plain = re.sub(r"  +", " ", _NETWORK.sub("", prompt)).strip(" ,") if beyond else prompt
    if (found := _WEIGHT.search(plain)) is not None:
        beyond.append(f"weights within a prompt, such as {found[0]}: they are read as text here")
    return plain, beyond
