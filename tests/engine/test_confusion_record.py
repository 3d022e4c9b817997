"""The matrices of the evaluations, also of a run that was killed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import tiny_config

from mmseg_kd.engine import build_runner
from mmseg_kd.engine.hooks import ConfusionRecordHook
from mmseg_kd.records.class_scores import read_confusions


def test_every_evaluation_is_kept_once(tmp_path: Path) -> None:
    build_runner(tiny_config(tmp_path)).train()
    file = tmp_path / 'confusion.jsonl'
    first = file.read_text()
    records = read_confusions(file)
    assert [record['iter'] for record in records] == [3, 6]
    pixels = sum(map(sum, records[0]['matrix']))
    assert pixels == 2 * 120 * 160
    assert records[0]['void'] == 'Unlabelled'

    # A kill after iteration 3, then a run that goes on from there.
    file.write_text(first + '{"iter": 6, "cla')
    cfg = tiny_config(tmp_path)
    cfg.load_from, cfg.resume = str(tmp_path / 'iter_3.pth'), True
    build_runner(cfg).train()
    assert file.read_text() == first


@pytest.mark.parametrize(('evaluated', 'kept'), [(3, [2, 3]), (None, [2])])
def test_evaluations_that_will_be_repeated_are_dropped(
    tmp_path: Path, evaluated: int | None, kept: list[int]
) -> None:
    file = tmp_path / 'confusion.jsonl'
    row = {'classes': ['a'], 'void': None, 'matrix': [[1]]}
    file.write_text(''.join(json.dumps({'iter': i} | row) + '\n' for i in (2, 3, 4)))
    # A checkpoint of iteration 3, written after its evaluation or before it.
    info = {'evaluated_iter': evaluated}
    runner = SimpleNamespace(
        work_dir=tmp_path, iter=3, message_hub=SimpleNamespace(get_info=info.get)
    )
    ConfusionRecordHook().before_train(runner)
    assert [record['iter'] for record in read_confusions(file)] == kept


def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    (tmp_path / 'confusion.jsonl').write_text(
        json.dumps({'iter': 1, 'classes': ['a'], 'void': None, 'matrix': [[1]]}) + '\n'
    )
    build_runner(tiny_config(tmp_path, train_cfg__max_iters=3)).train()
    assert [record['iter'] for record in read_confusions(tmp_path / 'confusion.jsonl')] == [3]


@pytest.mark.parametrize(
    'line',
    [
        '{',
        '5',
        '{"iter": 1}',
        '{"iter": "x", "classes": ["a"], "matrix": [[1]]}',
        '{"iter": 1, "classes": ["a", "b"], "matrix": [[1], [2]]}',
    ],
)
def test_damaged_lines_are_left_out(tmp_path: Path, line: str) -> None:
    good = '{"iter": 2, "classes": ["a"], "void": null, "matrix": [[7]]}'
    (tmp_path / 'c.jsonl').write_text(f'{line}\n{good}\n')
    assert [record['matrix'] for record in read_confusions(tmp_path / 'c.jsonl')] == [[[7]]]
