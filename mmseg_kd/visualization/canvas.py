"""What all figures share: how they are written, their axes and their legends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.visualization.fonts import font_settings
from mmseg_kd.visualization.line_styles import LineStyle
from mmseg_kd.visualization.literal_text import literal_text

# Inches and dots per inch: 1,152 pixels, legible on a phone at half the size.
WIDTH, DPI = 7.2, 160


@contextmanager
def canvas(
    file: str | Path | BytesIO,
    height: float = WIDTH,
    width: float = WIDTH,
    dpi: int = DPI,
    font_size: float = 10,
) -> Iterator[Figure]:
    """Make a figure and write it as PNG when the block ends.

    Args:
        file: Where to write.
        height: In inches.
        width: In inches.
        dpi: Dots per inch.
        font_size: In points.
    """
    with matplotlib.rc_context(font_settings(font_size)):
        figure = Figure(figsize=(width, height), layout='constrained')
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
        yield figure
        literal_text(figure)
        with nullcontext(file) if isinstance(file, BytesIO) else atomic_path(file) as target:
            figure.savefig(target, dpi=dpi, format='png')


def tidy(axes: Axes, title: str, **settings: Any) -> None:
    """Set title and labels, a pale grid and no frame."""
    axes.set_title(title, loc='left', fontsize='medium')
    axes.set(**settings)
    axes.grid(color='0.9', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def iteration_axis(axes: Axes, ticks: int | str = 'auto') -> None:
    """Label the horizontal axis with whole iterations."""
    axes.set_xlabel('iteration')
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=(1, 2, 4, 5, 10)))


def guide_line(axes: Axes, height: float, text: str, below: bool = False) -> None:
    """Draw a dashed horizontal line with a text at its right end."""
    axes.axhline(height, color='0.35', linewidth=1, linestyle=(0, (6, 3)), zorder=1)
    axes.annotate(
        text,
        (1, height),
        xycoords=('axes fraction', 'data'),
        xytext=(0, -3 if below else 4),
        textcoords='offset points',
        horizontalalignment='right',
        verticalalignment='top' if below else 'bottom',
        fontsize=8.5,
        color='0.25',
        bbox=dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1),
    )


def line_legend(figure: Figure, looks: Mapping[str, LineStyle], columns: int) -> None:
    """Put a legend of lines above the axes."""
    handles = [Line2D([], [], linewidth=2, label=name, **look) for name, look in looks.items()]
    legend(figure, handles, columns)


def legend(figure: Figure, handles: list[Any], columns: int) -> None:
    """Put a legend above the axes."""
    if handles:
        columns = min(columns, len(handles))
        where = 'outside upper left'
        figure.legend(handles=handles, loc=where, ncols=columns, frameon=False, fontsize=9)


def shorten(text: str, longest: int = 34) -> str:
    """Cut the middle out of a name that is too long for a legend."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f'{text[: half - 1]}…{text[-half:]}'
