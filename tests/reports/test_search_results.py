from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from reports.drawn_figures import keep_figures

from mmseg_kd.records.study_file import at_the_edge
from mmseg_kd.reports.comparing.differing_settings import short_keys
from mmseg_kd.reports.figures.search import slice_plots


class Point(NamedTuple):
    """What a figure needs of a group."""

    name: str
    params: dict
    score: float


SPACE = {
    'optim_wrapper.optimizer.lr': dict(type='loguniform', low=1e-5, high=1e-3),
    'kl.temperature': dict(type='uniform', low=1.0, high=8.0),
    'stages': dict(type='choice', choices=[['stage1'], ['stage4']]),
}


def points(count: int) -> list[Point]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        lr = float(10 ** rng.uniform(-5, -3))
        params = {
            'optim_wrapper.optimizer.lr': lr,
            'kl.temperature': float(rng.uniform(1, 8)),
            'stages': [['stage1'], ['stage4']][int(rng.integers(2))],
        }
        made.append(Point(f'p/{i}', params, 60 + 5 * np.log10(lr)))
    return made


@pytest.mark.parametrize('space', [SPACE, {'kl.temperature': [1, 2], 'stages': [['stage1'], None]}])
def test_figures_of_numbers_and_of_choices(
    tmp_path: Path, space: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = keep_figures(monkeypatch)
    made = points(9)
    if space is not SPACE:
        choices = [{'kl.temperature': t, 'stages': s} for t in (1, 2) for s in (['stage1'], None)]
        made = [Point(f'g/{i}', params, 40.0 + i) for i, params in enumerate(choices)]
    slice_plots(made, space, 'mIoU11', tmp_path / 'slices.png')
    with Image.open(tmp_path / 'slices.png') as picture:
        assert picture.width == 1152
    best = max(made, key=lambda point: point.score)
    for axes, (key, known) in zip(figures['slices'].axes, space.items(), strict=True):
        ranged = isinstance(known, dict) and 'choices' not in known
        assert axes.get_xscale() == ('log' if key.endswith('.lr') else 'linear')
        choices = known['choices'] if isinstance(known, dict) and not ranged else known
        for drawn, shown in zip(axes.collections, (made, [best]), strict=True):
            # Choices are drawn at 0, 1, 2, ...
            places = [p.params[key] if ranged else choices.index(p.params[key]) for p in shown]
            assert drawn.get_offsets().tolist() == [
                [place, point.score] for place, point in zip(places, shown, strict=True)
            ]


def test_keys_are_as_short_as_they_can_be() -> None:
    assert short_keys(['lr', 'c.d.weight']) == {'lr': 'lr', 'c.d.weight': 'd.weight'}
    keys = ['m.kl.loss_weight', 'm.at.loss_weight']
    assert list(short_keys(keys).values()) == ['kl.loss_weight', 'at.loss_weight']


def test_the_edge_of_a_space() -> None:
    space = {
        'lr': dict(type='loguniform', low=1e-5, high=1e-3),
        'weight': dict(type='uniform', low=0.0, high=10.0),
        'grid': [1, 2, 4, 8],
        'name': ['a', 'b', 'c'],
    }
    inside = {'lr': 1e-4, 'weight': 5.0, 'grid': 4, 'name': 'a'}
    assert at_the_edge(space, inside) == {}
    outside = {'lr': 1.1e-5, 'weight': 9.9, 'grid': 8, 'name': 'a'}
    edges = {key: edge for key, (_, edge) in at_the_edge(space, outside).items()}
    assert edges == {'lr': 'lowest', 'weight': 'highest', 'grid': 'highest'}
