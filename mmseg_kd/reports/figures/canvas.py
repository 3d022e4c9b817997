"""How the figures of a report look: size, colours, axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.visualization.fonts import font_settings
from mmseg_kd.visualization.line_styles import line_style
from mmseg_kd.visualization.literal_text import literal_text

# Inches and dots: 1,152 pixels, which a phone can still show legibly at half the size.
WIDTH, DPI = 7.2, 160
# More lines than these cannot be told apart.
MOST_CURVES = 8


@dataclass(frozen=True)
class Look:
    """Colour and line style of a run, the same in all figures of a report."""

    colour: str
    style: str = '-'


def choose_looks(collection: Collection) -> dict[str, Look]:
    """Give the baseline black, and Okabe and Ito's colours to the best others, by name."""
    looks = {}
    if collection.baseline is not None:
        looks[collection.baseline.name] = Look('black')
    others = [g.name for g in collection.ranked if g is not collection.baseline]
    best = others[:MOST_CURVES]
    # In the order of the runs, so that a new run at the end leaves the others as they were.
    for i, name in enumerate(g.name for g in collection.groups if g.name in best):
        looks[name] = Look(*line_style(i))
    return looks


@contextmanager
def canvas(file: Path, height: float = WIDTH) -> Iterator[Figure]:
    """Make a figure and write it as PNG when the block ends.

    Args:
        file: Where to write.
        height: In inches; the width is that of all figures, unless the block sets another size.
    """
    with matplotlib.rc_context(font_settings(10)):
        figure = Figure(figsize=(WIDTH, height), layout='constrained')
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
        yield figure
        literal_text(figure)
        with atomic_path(file) as partial:
            figure.savefig(partial, dpi=DPI, format='png')


def tidy(axes: Axes, title: str, **settings: Any) -> None:
    """Set title and labels, a pale grid and no frame."""
    axes.set(title=title, **settings)
    axes.title.set(horizontalalignment='left', x=0.0, fontsize=10)
    axes.grid(color='0.9', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def legend(figure: Figure, handles: Sequence[Any], columns: int = 3) -> None:
    """Put one legend above the axes."""
    if handles:
        figure.legend(
            handles=handles,
            loc='outside upper left',
            ncols=min(columns, len(handles)),
            frameon=False,
            fontsize=9,
        )


def shorten(text: str, longest: int = 34) -> str:
    """Cut the middle out of a name that is too long for a legend."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f'{text[: half - 1]}…{text[-half:]}'
