"""Each sentence is said when the numbers say it, and not otherwise."""

import json
from pathlib import Path

import pytest
from reports.run_copies import copy_run, set_curve, write_study

from mmseg_kd.paths import quoted
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.findings.next_runs import suggest
from mmseg_kd.reports.findings.scores import find


@pytest.fixture
def pair(trained_pair: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """The baseline and its student, both at 30 from the first evaluation on."""
    folders = {name: copy_run(source, tmp_path / name) for name, source in trained_pair.items()}
    for folder in folders.values():
        set_curve(folder, [30.0, 30.1, 30.2])
    return folders


def said(pair: dict[str, Path]) -> str:
    return '\n'.join(map(str, find(read_collection(list(pair.values())))))


def suggested(*folders: Path) -> dict[str, str]:
    return {str(s.reason): s.lines for s in suggest(read_collection(folders))}


def test_one_seed_shows_nothing(pair: dict[str, Path]) -> None:
    set_curve(pair['student'], [30.0, 39.9, 40.2])
    text = said(pair)
    assert 'student reached 40.20 mIoU11, the highest mean.' in text
    assert 'student: +10.00 mIoU11 against baseline, seeds in common: 1. Too few seeds' in text
    lines = suggested(*pair.values())
    (command,) = [text for reason, text in lines.items() if 'More seeds' in reason]
    assert 'randomness.seed=1' in command
    assert 'randomness.seed=2' in command
    assert 'randomness.seed=0' not in command


def test_still_improving(pair: dict[str, Path]) -> None:
    assert '1.5x longer' not in str(suggested(*pair.values()))
    set_curve(pair['student'], [20.0, 25.0, 29.5])
    (config,) = pair['student'].glob('*/vis_data/config.py')
    text = config.read_text(encoding='utf-8')
    assert text.count('end=300') == 1
    config.write_text(text.replace('end=300', 'end=9'), encoding='utf-8')
    (command,) = [t for reason, t in suggested(*pair.values()).items() if '1.5x longer' in reason]
    assert 'train_cfg.max_iters=14' in command
    # The schedule that ended with the training still does.
    assert 'param_scheduler.1.end=14' in command
    assert 'param_scheduler.0.end' not in command


def test_a_run_in_progress_needs_no_longer_training(pair: dict[str, Path]) -> None:
    set_curve(pair['student'], [20.0, 25.0, 29.5])
    collection = read_collection(list(pair.values()))
    assert '1.5x longer' in str(suggest(collection))
    collection.students[0].runs[0].state = 'running'
    assert '1.5x longer' not in str(suggest(collection))


def test_a_longer_training_of_a_run_with_a_budget(pair: dict[str, Path]) -> None:
    set_curve(pair['student'], [20.0, 25.0, 29.5])
    for config in pair['student'].glob('*/vis_data/config.py'):
        text = config.read_text(encoding='utf-8')
        assert text.count('max_iters=9') == 1
        changed = text.replace('max_iters=9', 'max_iters=9, time_budget=60.0')
        config.write_text(changed, encoding='utf-8')
    (command,) = [t for reason, t in suggested(*pair.values()).items() if '1.5x longer' in reason]
    # 14 of 9 iterations.
    assert 'train_cfg.time_budget=93.3' in command
    assert 'max_iters' not in command


def test_peaked_and_fell(pair: dict[str, Path]) -> None:
    assert 'peaked' not in said(pair)
    set_curve(pair['student'], [20.0, 33.0, 31.5])
    assert 'student peaked at iteration 6 and ended 1.50 mIoU11 lower.' in said(pair)


def test_a_teacher_below_the_baseline(pair: dict[str, Path]) -> None:
    card = json.loads((pair['student'] / 'teacher.json').read_text())
    for score, expected in ((29.0, True), (31.0, False)):
        card['metrics']['mIoU11'] = score
        (pair['student'] / 'teacher.json').write_text(json.dumps(card))
        assert (f'does not beat the baseline: {score:.2f} mIoU11' in said(pair)) is expected


def test_a_loss_that_was_exactly_0(pair: dict[str, Path]) -> None:
    file = pair['student'] / 'gradients.jsonl'
    reports = [json.loads(line) for line in file.read_text().splitlines()]
    for report in reports:
        report['losses']['at_loss'] |= dict(features=0.0, raw=0.0)
    file.write_text('\n'.join(map(json.dumps, reports)))
    assert 'exactly 0 in the last gradient report, so they taught nothing there: at_loss.' in said(
        pair
    )


def test_losses_without_gradient(pair: dict[str, Path]) -> None:
    file = pair['student'] / 'gradients.jsonl'
    reports = [json.loads(line) for line in file.read_text().splitlines()]
    for report in reports:
        report['task']['features'] = 1.0
        report['losses']['kl_loss'] |= dict(features=0.0, raw=1.0)
        report['losses']['at_loss'] |= dict(features=1e-5, raw=1.0)
        report['losses']['sp_loss'] |= dict(features=0.2, raw=1.0)
    file.write_text('\n'.join(map(json.dumps, reports)))
    text = said(pair)
    assert "no gradient reaches the backbone's stages, at any weight, from: kl_loss" in text
    assert 'almost no effect, by their share of the gradient: at_loss (0.0008 %)' in text
    assert 'sp_loss' not in text
    lines = suggested(*pair.values())
    (command,) = [text for reason, text in lines.items() if 'a tenth of the gradient' in reason]
    # At weight 1 it has 8e-6 of the gradient; 13,300 would follow, and is too far for one step.
    assert 'model.kd_losses.at_loss.loss_weight=100.0' in command
    assert 'One step raises a weight at most 100 times' in '\n'.join(lines)


def test_weights_that_did_not_arrive(pair: dict[str, Path]) -> None:
    (log,) = pair['baseline'].glob('*/*.log')
    log.write_text(
        log.read_text() + 'unexpected key in source state_dict: a, b\n\n'
        'missing keys in source state_dict: c, d, e\n\n'
    )
    text = said(pair)
    assert '3 tensors of the model are not in the file, 2 of the file are not in the model' in text


def test_divergence(pair: dict[str, Path]) -> None:
    (file,) = pair['student'].glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        if row.get('step', 0) >= 5 and 'loss' in row:
            row['loss'] = float('nan')
    file.write_text('\n'.join(map(json.dumps, rows)))
    assert 'student, seed 0 diverged: its loss was not finite at iteration 5.' in said(pair)


def test_classes(pair: dict[str, Path]) -> None:
    file = pair['student'] / 'confusion.jsonl'
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        size = len(record['classes'])
        record['matrix'] = [[10 * (i == j) for j in range(size)] for i in range(size)]
        record['matrix'][2] = [5 * (j == 3) for j in range(size)]
    file.write_text('\n'.join(map(json.dumps, records)))
    text = said(pair)
    assert 'student hardly recognises Pole (IoU below 1 %).' in text
    assert 'IoU by class, student minus baseline: ' in text
    # A class without a labelled pixel in the split.
    for record in records:
        record['matrix'][2] = [0] * size
        record['matrix'][0][2] = 1
    file.write_text('\n'.join(map(json.dumps, records)))
    assert 'hardly recognises' not in said(pair)


def test_more_seeds_are_counted(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    folders = []
    for seed, gain in enumerate((0.4, 2.0, 1.2)):
        for name, level in (('baseline', 30.0), ('student', 30.0 + gain)):
            folders.append(copy_run(trained_pair[name], tmp_path / f'{name}_s{seed}', seed))
            set_curve(folders[-1], [level - 1, level, level])
    lines = suggested(*folders)
    # t(0.975, 3) * 0.8 / sqrt(4) = 1.27 and t(0.975, 4) * 0.8 / sqrt(5) = 0.99 around 1.2.
    (reason,) = [reason for reason in lines if 'More seeds' in reason]
    assert '5 seeds would separate' in reason
    assert lines[reason].count('randomness.seed=') == 4


def test_seeds_that_exist_are_kept(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    folders = []
    for seed in (1, 42):
        for name, level in (('baseline', 30.0), ('student', 31.0)):
            folders.append(copy_run(trained_pair[name], tmp_path / f'{name}_s{seed}', seed))
            set_curve(folders[-1], [level - 1, level, level])
    lines = suggested(*folders)
    (command,) = [text for reason, text in lines.items() if 'More seeds' in reason]
    assert command.count('randomness.seed=') == command.count('randomness.seed=0') == 2


def test_a_study_gets_lines_for_its_config(pair: dict[str, Path], tmp_path: Path) -> None:
    set_curve(pair['student'], [20.0, 25.0, 29.5])
    options = {'optim_wrapper.optimizer.lr': 0.01}
    needs = {'model.teacher.checkpoint': 'baseline'}
    runs = [
        dict(name='baseline', work_dir='baseline'),
        dict(name='student', work_dir='student', options=options, needs=needs, config='kd.py'),
    ]
    write_study(tmp_path, runs, baseline='baseline')
    lines = suggested(tmp_path)
    assert 'seeds=[0, 1, 2],  # of the runs student and baseline' in lines.values()
    (text,) = [text for reason, text in lines.items() if '1.5x longer' in reason]
    (entry,) = eval(f'dict({{{text}}})').values()
    assert entry['config'] == 'kd.py'
    assert entry['needs'] == needs
    assert entry['options']['optim_wrapper.optimizer.lr'] == 0.01
    assert entry['options']['train_cfg.max_iters'] == 14


def test_a_best_value_at_the_edge(pair: dict[str, Path], tmp_path: Path) -> None:
    key = 'optim_wrapper.clip_grad'
    runs = [dict(name='g/0', work_dir='student', params={key: 8.0})]
    write_study(tmp_path, runs, kind='grid', space={key: [None, 2.0, 4.0, 8.0]})
    text = '\n'.join(map(str, find(read_collection([tmp_path]))))
    assert f'The best value of {key}, 8, is at the upper end of the search space' in text


@pytest.mark.parametrize(
    ('argument', 'text'),
    [
        ('work_dirs/run_1/iter_9.pth', 'work_dirs/run_1/iter_9.pth'),
        ('연구/run', '연구/run'),
        ('my run (1)/a', '"my run (1)/a"'),
        ('R&D/a', '"R&D/a"'),
        ('a,b', '"a,b"'),
        ('a;b', '"a;b"'),
        ('key=[1, 2]', '"key=[1, 2]"'),
        ('key=1e-05', 'key=1e-05'),
        ('$HOME/a', "'$HOME/a'"),
        ('key="x y"', '\'key="x y"\''),
    ],
)
def test_suggested_commands_are_quoted(argument: str, text: str) -> None:
    assert quoted(argument) == text
