"""A figure of the values that runs logged, one panel per key."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mmseg_kd.visualization.canvas import iteration_axis
from mmseg_kd.visualization.line_styles import line_style

PANEL_WIDTH, PANEL_HEIGHT = 9.0, 3.6
# With more points, as for losses, markers hide the line.
FEW_POINTS = 60
LEGEND_WIDTH = 110
LEGEND_ROW = 0.28


def draw_curves(
    figure: Figure,
    runs: Sequence[Mapping[str, Mapping[int, float]]],
    keys: Sequence[str],
    labels: Sequence[str],
) -> None:
    """Draw curves over the iteration; a run has one colour in all panels.

    Args:
        figure: An empty figure; its size is set.
        runs: For each run, the value by iteration of each key (`mmseg_kd.records.scalars`).
        keys: The keys to draw, one per panel; a run without the key has no curve there.
        labels: The name of each run.
    """
    columns = max(1, LEGEND_WIDTH // (8 + max(map(len, labels))))
    legend = LEGEND_ROW * -(-len(runs) // columns)
    figure.set_size_inches(PANEL_WIDTH, PANEL_HEIGHT * len(keys) + legend + 0.4)
    panels = figure.subplots(len(keys), 1, sharex=True, squeeze=False)[:, 0]
    for axes, key in zip(panels, keys, strict=True):
        axes.set_title(key)
        for i, (run, label) in enumerate(zip(runs, labels, strict=True)):
            curve = run.get(key, {})
            marker = 'o' if len(curve) <= FEW_POINTS else None
            look = dict(marker=marker, markersize=4, label=label)
            axes.plot(list(curve), list(curve.values()), **line_style(i), **look)
    iteration_axis(panels[-1])
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', ncols=columns)
