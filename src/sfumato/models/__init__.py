"""The systems that ship, a folder each."""

__all__: list[str] = []
