"""The words of other tools, one table for each kind, and what they are here. The tables load no torch: the command line
reads them before it begins."""

__all__: list[str] = []
