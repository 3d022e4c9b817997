"""Names in figures as they are written."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter


def literal_text(figure: Figure) -> None:
    """Draw all text of a figure as it is written, where matplotlib reads `$...$` as a formula.

    Names of classes, runs and losses are the user's, and one that is no formula would end the
    drawing. At a logarithmic axis the powers of ten stay formulas.
    """
    axes = [axis for part in figure.axes for axis in (part.xaxis, part.yaxis)]
    # Asked for here, because matplotlib makes the labels of ticks when they are first needed.
    labels = [(axis, axis.get_ticklabels(which='both')) for axis in axes]
    powers = {
        id(label)
        for axis, texts in labels
        if isinstance(axis.get_major_formatter(), LogFormatter)
        for label in texts
    }
    for text in figure.findobj(Text):
        if id(text) not in powers:
            text.set_parse_math(False)
