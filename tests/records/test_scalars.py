"""Curves from the files of a run."""

import json
from pathlib import Path

import pytest

from mmseg_kd.errors import UserError
from mmseg_kd.records.scalars import read_curves


def write(file: Path, rows: list[dict], end: str = '') -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(json.dumps(row) + '\n' for row in rows) + end)
    return file


def test_training_and_evaluation_are_told_apart(tmp_path: Path) -> None:
    rows = [
        {'loss': 2.0, 'time': 0.5, 'iter': 2, 'step': 2},
        {'mIoU': 30.0, 'time': 0.1, 'step': 2},
        {'loss': float('nan'), 'time': 0.4, 'iter': 4, 'step': 4},
    ]
    curves = read_curves(write(tmp_path / 'scalars.json', rows))
    assert curves['mIoU'] == {2: 30.0}
    assert curves['time'] == {2: 0.5, 4: 0.4}
    assert list(curves['loss']) == [2, 4]
    assert 'step' not in curves


def test_a_later_start_counts(tmp_path: Path) -> None:
    first = [{'loss': value, 'iter': step, 'step': step} for step, value in ((1, 9), (2, 8))]
    second = [{'loss': value, 'iter': step, 'step': step} for step, value in ((2, 5), (3, 4))]
    write(tmp_path / '20260101_000000/vis_data/scalars.json', first, end='{"loss": 7, "it')
    write(tmp_path / '20260102_000000/vis_data/scalars.json', second)
    assert read_curves(tmp_path)['loss'] == {1: 9, 2: 5, 3: 4}
    assert read_curves(tmp_path / '20260101_000000')['loss'] == {1: 9, 2: 8}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"loss": 1, "step": 1}\nnoise\n{"loss": 1, "step": 2}\n', 'line 2: is not a JSON record'),
        ('[1]\n', 'line 1: is not a JSON record'),
        ('', 'no logged number'),
        ('{"a": "b", "step": 1}\n', 'no logged number'),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / 'scalars.json').write_text(content)
    with pytest.raises(UserError, match=message):
        read_curves(tmp_path / 'scalars.json')


def test_a_wrong_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='lost does not exist'):
        read_curves(tmp_path / 'lost')
    with pytest.raises(UserError, match=r'vis_data/scalars\.json'):
        read_curves(tmp_path)
