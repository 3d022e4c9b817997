"""Draws names in figures literally."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter


def literal_text(figure: Figure) -> None:
    """Draw all text of a figure literally; matplotlib would read `$...$` as a formula.

    Names of classes, runs and losses are the user's, and one that is not a valid formula would
    raise an error. Powers of ten at logarithmic axes stay formulas.
    """
    axes = [axis for part in figure.axes for axis in (part.xaxis, part.yaxis)]
    # matplotlib creates tick labels when they are first requested.
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
