"""Checkpoints of other tools, opened and written: from a folder of diffusers or a single file to a `System`, and back.

- `diffusers/open.py` `open_folder`, `write.py` `write_checkpoint`, `inspect.py` `describe_checkpoint`; beneath them
  `folder.py` (components, configurations, the Hub) and `shards.py` (files of weights);
- `diffusers/networks/`: a kind of network a file, its configuration and the names of its weights, read and written;
- `diffusers/schedulers/`: `table.py` has a row for each scheduler class, `config.py` reads and writes by it
  (`read_scheduler`, `write_scheduler`), `nearest.py` finds the scheduler with which a system is exported;
- `single_file/open.py` `read_single_file`, `family.py` (which Stable Diffusion it is), `original.py` (its names);
- `options.py`: configurations checked against the options of a class.

Names of weights go both ways by `sfumato.keys`, weights on disk are `sfumato.store`, and read late by `sfumato.lazy`.
"""

__all__: list[str] = []
