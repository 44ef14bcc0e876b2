"""The systems that ship, a folder each."""
