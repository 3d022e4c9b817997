"""A figure of the IoU of every class and its difference to the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch

from mmseg_kd.visualization.canvas import canvas, legend, shorten, tidy
from mmseg_kd.visualization.line_styles import LineStyle

# Bars of one colour are told apart by these, lines by their style.
HATCHES = {'-': '', '--': '////', ':': '....'}

Scores = Mapping[str, Mapping[str, float]]


def class_iou_bars(
    scores: Scores,
    deltas: Scores,
    baseline: str | None,
    looks: Mapping[str, LineStyle],
    metric: str,
    file: Path,
) -> None:
    """Draw a bar for each class and run, next to its difference to the baseline.

    Args:
        scores: IoU in percent by class, by name of the run; NaN has no bar.
        deltas: Difference to the baseline in points, alike; if empty, there is one panel.
        baseline: The run that the others are compared with, or None.
        looks: Colours by name of the run.
        metric: The metric that chose the best evaluation.
        file: Where to write the PNG.
    """
    classes = list(next(iter(scores.values())))
    fills = {
        name: dict(
            facecolor=looks[name]['color'],
            edgecolor='white',
            hatch=HATCHES[looks[name]['linestyle']],
            linewidth=0,
        )
        for name in scores
    }
    height = 1.3 + len(classes) * max(0.26, 0.13 * len(scores) + 0.08)
    with canvas(file, height) as figure:
        panels = figure.subplots(1, 2 if deltas else 1, sharey=True, squeeze=False)[0]
        for axes, part in zip(panels, (scores, deltas), strict=False):
            thickness = 0.8 / len(part)
            for i, (name, row) in enumerate(part.items()):
                places = np.arange(len(classes)) + (i - (len(part) - 1) / 2) * thickness
                widths = [row.get(c, np.nan) for c in classes]
                axes.barh(places, widths, height=thickness * 0.9, **fills[name])
        tidy(panels[0], f'IoU [%] at the best {metric}', xlim=(0, 100))
        if deltas:
            panels[1].axvline(0, color='black', linewidth=0.8)
            tidy(panels[1], f'difference to {shorten(baseline)} [points]')
        panels[0].set_yticks(range(len(classes)), classes)
        panels[0].set_ylim(len(classes) - 0.5, -0.5)
        for axes in panels:
            axes.grid(visible=False, axis='y')
        legend(figure, [Patch(label=shorten(name), **fill) for name, fill in fills.items()], 2)
