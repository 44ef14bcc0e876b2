"""Data: pictures in a folder, a .zip, a .npz, Parquet or IDX files or on the Hub; broken ones left out; the stateless
order of samples.

source = open_source("photos")                      # what is there: names, classes, captions, notes
pictures = prepare(source, size=(64, 64))           # each decoded once: pixels, uint8 [n, c, h, w]
batch = pictures.stored[indices(seed, step, 16, len(pictures))]
"""

from sfumato.data.dataset import Dataset, Skipped
from sfumato.data.order import indices
from sfumato.data.prepare import prepare
from sfumato.data.source import DataSource, open_source

__all__ = ["DataSource", "Dataset", "Skipped", "indices", "open_source", "prepare"]
