"""Small sounds, made on the spot."""

import io

import numpy as np
import numpy.typing as npt
import soundfile


def tone(n: int = 400, seed: int = 0) -> npt.NDArray[np.int16]:
    """Noise, [n]."""
    return np.random.default_rng(seed).integers(-(2**15), 2**15, n).astype(np.int16)


def encode_sound(samples: npt.NDArray[np.int16], rate: int = 8000, format: str = "WAV") -> bytes:
    """Samples [n] or [n, channels] in a file."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=format)
    return stream.getvalue()
