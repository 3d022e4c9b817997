"""Which class was taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmseg_kd.reports.figures.canvas import canvas

# Of more classes the numbers would overlap.
MOST_NUMBERS = 20


def confusion_picture(shares: np.ndarray, classes: Sequence[str], title: str, file: Path) -> None:
    """Draw a confusion matrix, every row of which is the pixels of one true class.

    Args:
        shares: Share of a true class's pixels (K, K) by predicted class, from 0 to 1; NaN for a
            class that does not occur.
        classes: Their names.
        title: Whose it is.
        file: Where to write the PNG.
    """
    size = len(classes)
    with canvas(file, 6.2) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
        axes.set_title(title, fontsize=10, loc='left')
        axes.set(xlabel='predicted', ylabel='true')
        axes.set_xticks(range(size), classes, rotation=45, ha='right', rotation_mode='anchor')
        axes.set_yticks(range(size), classes)
        axes.tick_params(length=0, labelsize=9 if size <= MOST_NUMBERS else 6)
        axes.spines[:].set_visible(False)
        if size <= MOST_NUMBERS:
            for row, column in np.argwhere(shares >= 0.005):
                share = shares[row, column]
                axes.text(
                    column,
                    row,
                    f'{100 * share:.0f}',
                    ha='center',
                    va='center',
                    fontsize=8,
                    color='white' if share > 0.5 else 'black',
                )
