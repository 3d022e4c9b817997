"""Give all figures one look, and write them to files."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.records.message import message

# Inches and dots per inch: 1,152 pixels, legible on a phone at half the size.
WIDTH, DPI = 7.2, 160
# Maximum number of characters per line of a name in a legend.
NAME_WIDTH = 34
LOOK = {
    # Keeps the text of a PDF editable.
    'pdf.fonttype': 42,
    'figure.constrained_layout.w_pad': 0.06,
    'figure.constrained_layout.h_pad': 0.06,
    'axes.titlelocation': 'left',
    'axes.titlesize': 'medium',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '0.9',
    'grid.linewidth': 0.6,
    'axes.axisbelow': True,
    'legend.frameon': False,
}
# Fonts of Windows, Linux and macOS. matplotlib's DejaVu Sans draws Hangul as boxes.
WITH_HANGUL = ('Malgun Gothic', 'NanumGothic', 'Noto Sans CJK KR', 'AppleGothic')

# How matplotlib begins the labels of a logarithmic axis.
POWER = r'$\mathdefault{'

# These loggers warn about unused tables of a font, and about fonts without a bold weight.
for _name in ('fontTools.subset', 'matplotlib.font_manager'):
    logging.getLogger(_name).setLevel(logging.ERROR)


@contextmanager
def canvas(
    file: str | Path,
    height: float = WIDTH,
    width: float = WIDTH,
    dpi: int = DPI,
    font_size: float = 10,
    vector: bool = False,
) -> Iterator[Figure]:
    """Make a figure and write it when the block ends.

    Args:
        file: Where to write; the suffix decides the format.
        height: In inches.
        width: In inches.
        dpi: Dots per inch.
        font_size: In points.
        vector: Whether to write a PDF next to the file.
    """
    with matplotlib.rc_context({**LOOK, 'font.family': font_family(), 'font.size': font_size}):
        figure = Figure((width, height), layout='constrained')
        yield figure
        _draw_literally(figure)
        for path in [Path(file), *([Path(file).with_suffix('.pdf')] if vector else [])]:
            with atomic_path(path) as partial:
                figure.savefig(partial, dpi=dpi)


def font_family() -> list[str]:
    """Return the fonts to try in order for each character; the later ones have Hangul."""
    installed = {font.name for font in fontManager.ttflist}
    # matplotlib warns at every text if a font is not installed.
    # Some fonts with Hangul lack the minus sign of exponents, so they come second.
    return ['sans-serif', *(name for name in WITH_HANGUL if name in installed)]


def _draw_literally(figure: Figure) -> None:
    """Draw text literally where matplotlib would read `$...$` as a formula.

    Names of classes, runs and losses are the user's, and one that is not a valid formula would
    raise an error. Powers of ten at logarithmic axes stay formulas.
    """
    for text in figure.findobj(Text):
        if '$' in text.get_text() and not text.get_text().startswith(POWER):
            text.set_parse_math(False)


def iteration_axis(axes: Axes) -> None:
    """Label the horizontal axis with whole iterations."""
    axes.set_xlabel(message('iteration'))
    axes.xaxis.set_major_locator(MaxNLocator('auto', integer=True, steps=(1, 2, 4, 5, 10)))


def guide_line(axes: Axes, height: float, text: str) -> None:
    """Draw a dashed horizontal line with a text at its right end."""
    axes.axhline(height, color='0.35', linewidth=1, linestyle=(0, (6, 3)), zorder=1)
    place = dict(xycoords=axes.get_yaxis_transform(), textcoords='offset points', ha='right')
    box = dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1)
    axes.annotate(text, (1, height), (0, 4), fontsize='small', color='0.25', bbox=box, **place)
