"""What the pictures have in common: colours, type, a light ground that sits well on a light and on a dark page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

PAPER, INK, GREY, HAIR = "#fbf8f2", "#2b2622", "#8a8178", "#ddd5c9"
UMBER, LAKE = "#b4532a", "#1f6f78"
OCHRE, MADDER, OLIVE, INDIGO = "#cf9a2f", "#8c2f4f", "#77803a", "#3f4f86"

SHADES = LinearSegmentedColormap.from_list("shades", [PAPER, "#a89c8e", INK])
HAZE = LinearSegmentedColormap.from_list("haze", [PAPER, "#efe5d3", "#dcc7a3", "#bf9f6c"])

RULES = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": HAIR,
    "axes.labelcolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "mathtext.fontset": "cm",
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "sfumato",
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@contextmanager
def page(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of `width` by `height` inches, written to `path` at the end; the same bytes each time."""
    with plt.rc_context(RULES):
        figure = plt.figure(figsize=(width, height))
        yield figure
        figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)


def bare(axes: Axes) -> Axes:
    """The axes without frame and ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes
