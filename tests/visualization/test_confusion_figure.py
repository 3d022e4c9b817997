"""Numbers and names in the picture of a confusion matrix."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmseg_kd.visualization.canvas import canvas
from mmseg_kd.visualization.confusion_figure import MOST_NUMBERED, draw_confusion


def test_shares_of_the_truth_are_written() -> None:
    matrix = np.array([[90, 10, 0], [0, 0, 4], [0, 0, 0]])
    figure = Figure()
    draw_confusion(figure, matrix, ['a', 'b', 'c'], title='mine')
    axes = figure.axes[0]
    texts = np.array([text.get_text() for text in axes.texts]).reshape(3, 3)
    assert texts.tolist() == [['90', '10', ''], ['', '0', '100'], ['', '', '-']]
    assert axes.get_title(loc='left') == 'mine'
    assert [label.get_text() for label in axes.get_yticklabels()] == ['a', 'b', 'c']
    assert axes.get_ylabel() == 'truth'
    # Dark cells have light numbers.
    assert axes.texts[0].get_color() == 'white' != axes.texts[1].get_color()


def test_many_classes_have_no_numbers() -> None:
    count = MOST_NUMBERED + 1
    figure = Figure()
    draw_confusion(figure, np.eye(count, dtype=int), [str(i) for i in range(count)])
    assert not figure.axes[0].texts


def test_names_that_are_not_formulas_are_drawn(tmp_path: Path) -> None:
    with canvas(tmp_path / 'confusion.png') as figure:
        draw_confusion(figure, np.eye(2), [r'$\frac{1}$', '$x'])
    assert (tmp_path / 'confusion.png').stat().st_size > 10_000


def test_a_difference_is_in_points_of_the_share() -> None:
    figure = Figure()
    own, base = np.array([[9, 1], [0, 10]]), np.array([[60, 40], [1, 999]])
    draw_confusion(figure, own, ['a', 'b'], baseline=base)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ['+30', '\u221230', '', '0']
    assert axes.collections[0].get_clim() == (-30.0, 30.0)
