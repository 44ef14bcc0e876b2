"""Data of one medium in a folder, a .zip, a .npz, Parquet or IDX files or on the Hub; broken ones left out; in memory,
in a mapped file, or decoded on demand; the stateless order of samples.

source = open_source("photos")                      # names, classes, captions, notes: nothing is decoded yet
dataset = prepare(source, size=(64, 64))            # all of one form: stored, uint8 [n, c, h, w]
batch = dataset.stored[indices(seed, step, 16, len(dataset))]
sounds = prepare(open_source("sounds", Audio(22_050)), size=(22_050,))      # int16 [n, 1, samples]

A new format is a function that returns a `TableSource`, called by `open_source`; a new medium needs nothing here.
"""

from sfumato.data.dataset import Dataset, Skipped
from sfumato.data.order import indices
from sfumato.data.prepare import prepare
from sfumato.data.source import DataSource, open_source

__all__ = ["DataSource", "Dataset", "Skipped", "indices", "open_source", "prepare"]
