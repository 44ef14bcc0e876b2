"""Names that are spelled in more than one way."""


def folded_name(name: str) -> str:
    """What all spellings of a name share: case, spaces, hyphens, underscores and diffusers' "Scheduler" do not
    matter."""
    return "".join(c for c in name.casefold() if not (c.isspace() or c in "-_")).removesuffix("scheduler")
