"""The 1,797 handwritten digits that ship with scikit-learn."""

import numpy as np

from sfumato.data.arrays import from_arrays
from sfumato.data.table import TableSource
from sfumato.errors import InputError


def open_digits() -> TableSource:
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998): 1,797 grayscale 8x8 pictures, ten classes.

    Their 17 levels, 0 to 16, become round(v * 255 / 16). Raises InputError if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "digits: expected scikit-learn, which is not installed: pip install sfumato[digits]"
        ) from error
    values, labels = load_digits(return_X_y=True)
    images = np.rint(np.asarray(values).reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    return from_arrays(images, stem="digits", labels=np.asarray(labels), classes=tuple("0123456789"))
