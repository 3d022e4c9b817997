"""What all figures share: how they are written, their axes and their legends."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.records.message import Message, message
from mmseg_kd.visualization.line_styles import LineStyle

# Inches and dots per inch: 1,152 pixels, legible on a phone at half the size.
WIDTH, DPI = 7.2, 160
# Fonts of Windows, Linux and macOS. matplotlib's DejaVu Sans draws Hangul as boxes.
WITH_HANGUL = ('Malgun Gothic', 'NanumGothic', 'Noto Sans CJK KR', 'AppleGothic')

# How matplotlib begins the labels of a logarithmic axis.
POWER = r'$\mathdefault{'

# It warns at every PDF about tables of a font that nobody needs.
logging.getLogger('fontTools.subset').setLevel(logging.ERROR)


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
        file: Where to write, in the format of its ending.
        height: In inches.
        width: In inches.
        dpi: Dots per inch.
        font_size: In points.
        vector: Whether to write a PDF next to the file.
    """
    # Fonts of type 42 keep the text of a PDF editable.
    look = {'font.family': font_family(), 'font.size': font_size, 'pdf.fonttype': 42}
    with matplotlib.rc_context(look):
        figure = Figure((width, height), layout='constrained')
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
        yield figure
        _draw_literally(figure)
        for path in [Path(file), *([Path(file).with_suffix('.pdf')] if vector else [])]:
            with atomic_path(path) as partial:
                figure.savefig(partial, dpi=dpi)


def font_family() -> list[str]:
    """Return fonts; a character that the first lacks is drawn in the next, for one Hangul."""
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


def tidy(axes: Axes, title: str | Message, **settings: Any) -> None:
    """Set title and labels, a pale grid and no frame."""
    axes.set_title(title, loc='left', fontsize='medium')
    axes.set(**settings)
    axes.grid(color='0.9', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def iteration_axis(axes: Axes, ticks: int | str = 'auto') -> None:
    """Label the horizontal axis with whole iterations."""
    axes.set_xlabel(message('iteration'))
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=(1, 2, 4, 5, 10)))


def guide_line(axes: Axes, height: float, text: str) -> None:
    """Draw a dashed horizontal line with a text at its right end."""
    axes.axhline(height, color='0.35', linewidth=1, linestyle=(0, (6, 3)), zorder=1)
    place = dict(xycoords=('axes fraction', 'data'), textcoords='offset points', ha='right')
    box = dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1)
    look = dict(fontsize=8.5, color='0.25', bbox=box)
    axes.annotate(text, (1, height), (0, 4), va='bottom', **place, **look)


def line_legend(figure: Figure, looks: Mapping[str, LineStyle], columns: int) -> None:
    """Put a legend of lines above the axes."""
    handles = [Line2D([], [], linewidth=2, label=name, **look) for name, look in looks.items()]
    legend(figure, handles, columns)


def legend(figure: Figure, handles: list[Any], columns: int) -> None:
    """Put a legend above the axes, in one row or, in the order of the handles, in columns."""
    if handles:
        look = dict(ncols=min(columns, len(handles)), frameon=False, fontsize=9)
        figure.legend(handles=handles, loc='outside upper left', **look)


def shorten(text: str, longest: int = 34) -> str:
    """Break a long name into lines after dots, `_` and `/`; cut the middle out of a longer one."""
    if len(text) > 2 * longest:
        text = f'{text[: longest - 1]}…{text[-longest:]}'
    lines = ['']
    for part in re.findall(r'.+?(?:[._/](?!\d)|$)', text):
        if lines[-1] and len(lines[-1] + part) > longest:
            lines.append('')
        lines[-1] += part
    return '\n'.join(lines)
