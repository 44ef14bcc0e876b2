"""Networks of diffusers: each file reads and writes the configurations and weights of one kind."""

__all__: list[str] = []
