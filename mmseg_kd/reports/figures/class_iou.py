"""IoU of every class, and what it gained on the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from mmseg_kd.reports.figures.canvas import Look, canvas, legend, shorten, tidy

HATCHES = {'-': '', '--': '////', ':': '....'}


def class_iou_bars(
    scores: Mapping[str, Mapping[str, float]],
    deltas: Mapping[str, Mapping[str, float]],
    baseline: str | None,
    looks: Mapping[str, Look],
    metric: str,
    file: Path,
) -> None:
    """Draw a bar for each class and run, and beside it the difference to the baseline.

    Args:
        scores: IoU in percent by class, by name of the run; NaN is no bar.
        deltas: Difference to the baseline in points, alike; empty leaves the second panel out.
        baseline: The run that the others are compared with, or None.
        looks: Colours by name of the run.
        metric: What the best evaluation was chosen by.
        file: Where to write the PNG.
    """
    classes = list(next(iter(scores.values())))
    height = 1.3 + len(classes) * max(0.26, 0.13 * len(scores) + 0.08)
    with canvas(file, height) as figure:
        panels = figure.subplots(1, 2 if deltas else 1, sharey=True, squeeze=False)[0]
        _bars(panels[0], classes, scores, looks)
        tidy(panels[0], f'IoU [%] at the best {metric}', xlim=(0, 100))
        if deltas:
            _bars(panels[1], classes, deltas, looks)
            panels[1].axvline(0, color='black', linewidth=0.8)
            tidy(panels[1], f'difference to {shorten(baseline)} [points]')
        panels[0].set_yticks(range(len(classes)), classes)
        panels[0].set_ylim(len(classes) - 0.5, -0.5)
        for axes in panels:
            axes.grid(visible=False, axis='y')
        legend(
            figure,
            [Patch(**_fill(looks[name]), label=shorten(name)) for name in scores],
            columns=2,
        )


def _bars(
    axes: Axes,
    classes: list[str],
    scores: Mapping[str, Mapping[str, float]],
    looks: Mapping[str, Look],
) -> None:
    thickness = 0.8 / len(scores)
    for i, (name, row) in enumerate(scores.items()):
        places = np.arange(len(classes)) + (i - (len(scores) - 1) / 2) * thickness
        widths = [row.get(c, np.nan) for c in classes]
        axes.barh(places, widths, height=thickness * 0.9, **_fill(looks[name]))


def _fill(look: Look) -> dict[str, str]:
    # A colour that two runs share is told apart by what lines have as their style.
    return dict(facecolor=look.colour, edgecolor='white', hatch=HATCHES[look.style], linewidth=0)
