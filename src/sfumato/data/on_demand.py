"""Data that stay where they lie and are decoded when training asks for them."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sfumato.data.decoder import Decoder, quiet
from sfumato.data.parallel import in_order
from sfumato.data.process import OfProcess, Recent
from sfumato.data.source import DataSource
from sfumato.data.table import sha256_of
from sfumato.errors import DataError, quoted
from sfumato.wording import brief


class OnDemand:
    """The data `kept` of a source, read like an array [n, *shape] and decoded anew each time.

    Those used last are held, as many as take `limit` bytes, once a process: it may be forked, or sent to a process that
    is spawned, and be read from any thread. Data of one call are decoded in the order in which they lie, in threads
    where that pays. `contents` holds the SHA-256 of what each datum was read from, 32 bytes each: one that has changed
    since is a DataError that names it, as is one that can no longer be read.
    """

    def __init__(
        self,
        source: DataSource,
        decoder: Decoder,
        kept: Sequence[int],
        contents: bytes,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        limit: int,
    ) -> None:
        self.shape = (len(kept), *shape)
        self.dtype = dtype
        self._source, self._decoder, self._contents = source, decoder, contents
        self._kept = np.array(kept, dtype=np.int64)
        self._recent: OfProcess[Recent[npt.NDArray[Any]]] = OfProcess(partial(Recent, limit))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        chosen = self._rows(rows)
        if chosen.ndim == 0:
            return self._one(int(chosen))[tuple(rest)].copy()
        return self._many(chosen)[(slice(None),) * chosen.ndim + tuple(rest)]

    def _rows(self, rows: Any) -> npt.NDArray[np.int64]:
        """The rows that a whole number, a slice or an array of whole numbers names, each 0 to n − 1."""
        n = len(self)
        if isinstance(rows, slice):
            return np.arange(*rows.indices(n))
        chosen = np.asarray(rows)
        if chosen.dtype.kind not in "iu" or chosen.min(initial=0) < -n or chosen.max(initial=0) >= n:
            raise IndexError(f"rows are whole numbers or slices, within {n:,} data, not {quoted(rows)}")
        return np.where(chosen < 0, chosen + n, chosen).astype(np.int64)

    def _many(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        wanted, places = np.unique(chosen, return_inverse=True)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        with quiet(), closing(in_order(lambda j: self._one(int(wanted[j])), len(wanted))) as data:
            for j, datum in enumerate(data):
                found[j] = datum
        return found[places].reshape(*chosen.shape, *self.shape[1:])

    def _one(self, i: int) -> npt.NDArray[Any]:
        datum = self._recent().get(i)
        if datum is None:
            datum = self._decoded(i)
            datum.flags.writeable = False
            self._recent().put(i, datum, datum.nbytes)
        return datum

    def _decoded(self, i: int) -> npt.NDArray[Any]:
        place = int(self._kept[i])
        name = self._source.name(place)
        kept = self._source.read(place)
        if bytes.fromhex(sha256_of(kept)) != self._contents[32 * i : 32 * i + 32]:
            raise DataError(f"{brief(name)}: expected the bytes that the run began with, came others; put it back")
        stored = self._decoder(kept, name).stored
        return np.ascontiguousarray(stored[: self.shape[1]] if stored.ndim > 1 else stored)
