"""What a work_dir tells, whole and damaged."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import config_file
from conftest import run as run_tool
from reports.run_copies import copy_run, set_curve

from mmseg_kd.errors import UserError
from mmseg_kd.records.run_record import read_run
from mmseg_kd.records.training_log import read_logs


def scalars(folder: Path) -> Path:
    return next(folder.glob('*/vis_data/scalars.json'))


def test_a_real_run(trained_pair: dict[str, Path]) -> None:
    run = read_run(trained_pair['student'])
    assert (run.name, run.seed, run.state, run.max_iters) == ('student', 0, 'done', 9)
    assert [row['iteration'] for row in run.evaluations] == [3, 6, 9]
    assert set(run.metrics) == {'aAcc', 'mIoU', 'mAcc', 'mIoU11'}
    assert run.training['step'].tolist() == list(range(1, 10))
    assert np.isfinite(run.training['kl_loss']).all()
    assert run.config['model']['kd_losses']['kl_loss']['temperature'] == 4.0
    assert run.teachers['teacher']['metrics']['mIoU'] > 0
    assert [report['iter'] for report in run.gradients] == [0, 2, 4, 6, 8]
    assert run.log.seconds >= 0
    assert run.log.device
    for metric in ('mIoU', 'mIoU11'):
        file, score = run.best_checkpoint(metric)
        assert score == run.best(metric)[metric]
        assert file.stem.endswith(f'_{run.best(metric)["iteration"]}')
    assert not run.notes


def test_the_time_is_that_of_all_starts(tmp_path: Path) -> None:
    days = ((1, '10:00:00', '10:00:30'), (2, '23:59:00', '23:59:30'))
    for day, begin, end in days:
        lines = [f'2026/01/{day:02d} {time} - mmengine - INFO - a\n' for time in (begin, end)]
        (tmp_path / f'{day}.log').write_text('no time\n'.join(lines))
    assert read_logs(sorted(tmp_path.glob('*.log'))).seconds == 60
    test = '2024/01/03 10:00:00 - a\n2024/01/03 10:09:00 - Iter(test) [5/5]  mIoU: 1.0\n'
    (tmp_path / 'c.log').write_text(test)
    assert read_logs(sorted(tmp_path.glob('*.log'))).seconds == 60


def test_the_current_folder_has_a_name(
    trained_pair: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained_pair['student']
    start = next(folder.glob('*/vis_data')).parent
    for current, given in ((folder, '.'), (start, '..')):
        monkeypatch.chdir(current)
        run = read_run(given)
        assert run.name == run.source.name == 'student'


def test_the_checkpoint_offered_has_the_score_shown(
    trained_pair: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy_run(trained_pair['baseline'], tmp_path / 'run')
    set_curve(folder, [10.0, 40.0, 30.0])
    for name in ('iter_3.pth', 'iter_6.pth', 'iter_9.pth', 'best_mIoU_iter_9.pth'):
        (folder / name).touch()
    run = read_run(folder)
    assert run.best_checkpoint('mIoU11') == (folder / 'iter_6.pth', 40.0)
    (folder / 'best_mIoU11_iter_6.pth').touch()
    assert run.best_checkpoint('mIoU11') == (folder / 'best_mIoU11_iter_6.pth', 40.0)
    set_curve(folder, [10.0, 40.0, 40.0])
    run = read_run(folder)
    assert run.best('mIoU11')['iteration'] == 6
    assert run.best_checkpoint('mIoU11') == (folder / 'best_mIoU11_iter_6.pth', 40.0)
    set_curve(folder, [10.0, 40.0, 30.0])
    run = read_run(folder)
    for file in folder.glob('*iter_6.pth'):
        file.unlink()
    # The headline is 40; the best file that is left says itself what it has.
    assert run.best_checkpoint('mIoU11') == (folder / 'best_mIoU_iter_9.pth', 30.0)
    assert run.best_checkpoint('mDice') == (folder / 'best_mIoU_iter_9.pth', None)


def test_class_scores_are_the_metrics(trained_pair: dict[str, Path]) -> None:
    run = read_run(trained_pair['baseline'])
    assert sorted(run.classes) == [3, 6, 9]
    for row in run.evaluations:
        scores = run.classes[row['iteration']]
        there = [value for value in scores.iou.values() if math.isfinite(value)]
        # Without the void class, as the published metric.
        assert sum(there) / len(there) == pytest.approx(row['mIoU11'], abs=0.006)
        right = np.trace(scores.confusion) / scores.confusion.sum()
        assert 100 * right == pytest.approx(row['aAcc'], abs=0.006)


def test_later_starts_win(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_run(trained_pair['baseline'], tmp_path / 'resumed')
    later = folder / '29991231_000000' / 'vis_data' / 'scalars.json'
    later.parent.mkdir(parents=True)
    rows = [{'loss': 7.0, 'step': 9}, {'mIoU': 88.0, 'step': 9}]
    later.write_text('\n'.join(map(json.dumps, rows)))
    run = read_run(folder)
    assert run.training['loss'][-1] == 7.0
    assert run.evaluations[-1]['mIoU'] == 88.0
    assert len(run.evaluations) == 3


def test_a_torn_last_line_is_no_news(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_run(trained_pair['baseline'], tmp_path / 'torn')
    text = scalars(folder).read_text()
    scalars(folder).write_text(text[: -len(text.splitlines()[-1]) // 2])
    run = read_run(folder)
    assert [row['iteration'] for row in run.evaluations] == [3, 6]
    assert not run.notes


def test_damage_is_noted(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_run(trained_pair['student'], tmp_path / 'damaged')
    lines = scalars(folder).read_text().splitlines()
    lines[2] = lines[2][:9]
    scalars(folder).write_text('\n'.join(lines))
    scalars(folder).with_name('config.py').write_text('model = dict(')
    (folder / 'teacher.json').write_text('[')
    (folder / 'gradients.jsonl').write_text('{"iter": 3}\n[]\n')
    (folder / 'confusion.jsonl').write_text('{"iter": 3, "classes": ["a"], "matrix": [[1, 2]]}\n5')
    run = read_run(folder)
    notes = ' '.join(map(str, run.notes))
    assert '1 lines are not JSON and were left out (the first is line 3)' in notes
    assert 'the config cannot be read' in notes
    assert 'teacher.json: damaged' in notes
    assert not run.gradients
    assert len(run.evaluations) == 3


def test_the_config_is_not_run(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_run(trained_pair['baseline'], tmp_path / 'code')
    marker = tmp_path / 'was_run'
    config = scalars(folder).with_name('config.py')
    config.write_text(f'model = open({str(marker)!r}, "w")\nrandomness = dict(seed=-3)\n')
    run = read_run(folder)
    assert not marker.exists()
    assert run.config['model'].startswith('open(')
    assert run.seed == -3


@pytest.mark.parametrize('content', ['', 'not json\nat all\n', '[1]\n', '{"step": 3}\n'])
def test_nothing_to_read_is_one_line(
    trained_pair: dict[str, Path], tmp_path: Path, content: str
) -> None:
    folder = copy_run(trained_pair['baseline'], tmp_path / 'empty')
    scalars(folder).write_text(content)
    with pytest.raises(UserError, match='no line of a training or an evaluation') as error:
        read_run(folder)
    assert '\n' not in str(error.value)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'the work_dir .*nowhere does not exist'):
        read_run(tmp_path / 'nowhere')
    with pytest.raises(UserError, match='holds no'):
        read_run(tmp_path)


def test_a_run_that_stopped_early_is_finished(tmp_path: Path) -> None:
    # Improvements below 100 points do not count, so it stops at the second evaluation.
    hook = dict(type='EarlyStoppingHook', monitor='mIoU', min_delta=100.0, patience=1)
    config = config_file(tmp_path, train_cfg__val_interval=2, custom_hooks=[hook])
    assert run_tool('train.py', config) == 0
    folder = tmp_path / 'run'
    (log,) = folder.glob('*/*.log')
    run = read_run(folder)
    assert (run.max_iters, run.evaluations[-1]['iteration'], run.state) == (6, 4, 'done')
    # A test with the same config writes its log into the same folder.
    assert run_tool('test.py', config, next(folder.glob('best_*.pth'))) == 0
    assert len(list(folder.glob('*/*.log'))) == 2
    assert read_run(folder).state == 'done'
    log.write_text(log.read_text(encoding='utf-8').replace('did not improve', ''), encoding='utf-8')
    assert read_run(folder).state == 'unfinished'
