"""Runs that are not alike: other data, a failed end, a teacher named base, a run in progress."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.run_copies import write_study

from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.scalars import read_rows
from mmseg_kd.records.study_file import StudyRecord, at_the_edge
from mmseg_kd.reports.comparing.collecting import _baseline, _setting, read_collection
from mmseg_kd.reports.comparing.collection import Collection, Group, compare_groups
from mmseg_kd.reports.comparing.statistics import half_width, paired_difference
from mmseg_kd.reports.findings.next_runs import seeds_needed, suggest
from mmseg_kd.reports.findings.scores import find

DATA = dict(data_root='data/CamVid', split='val')


def group(name: str, *scores: float, first_seed: int = 0, **settings: Any) -> Group:
    """Make a group of finished runs, one per seed, evaluated three times."""
    runs = []
    for i, score in enumerate(scores):
        seed = first_seed + i
        run = RunRecord(name, Path('runs') / name / f'seed{seed}', seed)
        steps = ((3, score - 2), (6, score - 1), (9, score))
        run.evaluations = [dict(iteration=step, mIoU11=value) for step, value in steps]
        run.config = dict(val_dataloader=dict(dataset=DATA | settings))
        runs.append(run)
    return Group(name, runs, 'mIoU11')


def teach(student: Group, teacher: Group) -> None:
    """Record that each run learned from the teacher of its seed, or from the only one."""
    for run in student.runs:
        tutor = next((t for t in teacher.runs if t.seed == run.seed), teacher.runs[0])
        card = dict(sha256=str(tutor.source), data='val', checkpoint=f'{tutor.source}/best.pth')
        run.teachers = {'teacher': card | dict(metrics={'mIoU11': tutor.best('mIoU11')['mIoU11']})}
        run.config['model'] = dict(kd_losses=dict(kl_loss={}))


def said(*groups: Group, baseline: Group | None) -> str:
    return '\n'.join(map(str, find(Collection('', list(groups), 'mIoU11', baseline))))


def test_a_teacher_is_not_taken_for_the_baseline() -> None:
    tiny, teacher = group('swin_tiny', 70.0, 70.2), group('swin_base', 80.0)
    student = group('swin_tiny_kd', 72.0, 72.1)
    teach(student, teacher)
    assert _baseline([tiny, teacher, student], None) is tiny
    assert _baseline([teacher, student], None) is None
    # A baseline may teach its own copy.
    own = group('b0_baseline', 70.0)
    teach(student, own)
    assert _baseline([own, student], None) is own


@pytest.mark.parametrize(
    ('settings', 'compared'),
    [
        (dict(data_root='D:\\data\\camvid'), True),
        (dict(data_root=None, split=None), True),
        (dict(data_root='data/cityscapes'), False),
        (dict(split='test'), False),
    ],
)
def test_scores_of_other_data_are_not_compared(settings: dict, compared: bool) -> None:
    base, student = group('base', 70.0, 70.2, 70.1), group('kd', 80.0, 80.3, 80.1, **settings)
    assert (compare_groups(student, base, 'mIoU11') is not None) is compared
    # The test split is named by keys of its own.
    for run in (*base.runs, *student.runs):
        run.test = {'mIoU11': 60.0}
    assert compare_groups(student, base, 'mIoU11', test=True) is not None
    assert ('kd and base cannot be compared' in said(base, student, baseline=base)) is not compared


def test_failed_points_do_not_lead_a_search() -> None:
    base, good, bad = group('base', 68.0), group('kd/1', 69.0), group('kd/2', 77.0)
    for point, rate in ((good, 1e-4), (bad, 9.9e-4)):
        point.runs[0].params = {'lr': rate}
    bad.runs[0].state = 'failed'
    runs = [*base.runs, *good.runs, *bad.runs]
    space = {'lr': dict(type='loguniform', low=1e-5, high=1e-3)}
    study = StudyRecord('s', runs, 'base', {}, 'mIoU11', 'search', space)
    collection = Collection('s', [base, good, bad], 'mIoU11', base, [study])
    assert collection.ranked == [good, base, bad]
    assert collection.points(study) == [good]
    assert 'upper end' not in '\n'.join(map(str, find(collection)))


def test_where_a_training_started_is_a_setting() -> None:
    scratch = dict(model=dict(type='EncoderDecoder'), load_from=None, resume=False)
    tuned = scratch | dict(load_from='a.pth')
    assert _setting(scratch) != _setting(tuned)
    # Stock mmsegmentation writes the checkpoint that it resumes from there.
    resumed = tuned | dict(resume=True)
    assert _setting(resumed) == _setting(resumed | dict(load_from='b.pth'))


def test_the_gap_is_that_of_the_seeds_in_common() -> None:
    base = group('base', 70.0, 70.1, 69.9)
    teacher = group('teacher', 74.0, 74.0, 74.0, 90.0, 90.0)
    student = group('kd', 72.1, 72.2, 72.0, 72.1, 72.1)
    teach(student, teacher)
    collection = Collection('', [base, teacher, student], 'mIoU11', base)
    assert collection.gap_closed(student) == pytest.approx(2.1 / 4)


def test_noise_closes_no_gap() -> None:
    base, teacher = group('base', 70.0, 70.0, 70.0), group('teacher', 70.02)
    student = group('kd', 69.0, 70.0, 72.0)
    teach(student, teacher)
    text = said(base, teacher, student, baseline=base)
    assert 'kd is within noise of base' in text
    assert 'closes' not in text


@pytest.mark.parametrize(('teacher', 'student', 'share'), [
    (70.9, 71.0, None), (71.0, 70.5, 0.5), (74.0, 69.0, None), (74.0, 78.0, 2.0),
])  # fmt: skip
def test_only_a_gap_of_a_point_is_closed(
    teacher: float, student: float, share: float | None
) -> None:
    base, tutor = group('base', 70.0, 70.0, 70.0), group('teacher', teacher)
    pupil = group('kd', student, student, student)
    teach(pupil, tutor)
    collection = Collection('', [base, tutor, pupil], 'mIoU11', base)
    assert collection.gap_closed(pupil) == (share and pytest.approx(share))


def test_only_finished_runs_with_a_seed_are_compared() -> None:
    base, student = group('base', 70.0, 70.2, 70.1), group('kd', 72.0, 72.3, 72.1)
    assert compare_groups(student, base, 'mIoU11').verdict == 'better'
    for run in student.runs:
        run.state = 'running'
    assert compare_groups(student, base, 'mIoU11') is None
    for run in (*base.runs, *student.runs):
        run.state, run.seed = 'done', None
    assert compare_groups(student, base, 'mIoU11') is None


def test_of_many_students_the_first_and_the_worse_are_compared() -> None:
    base, *others = [group('base', 70.0, 70.2, 70.1)] + [
        group(name, *scores)
        for name, scores in (
            ('kd1', (74.0, 74.1, 74.2)),
            ('kd2', (73.0, 73.1, 73.2)),
            ('kd3', (72.0, 72.1, 72.2)),
            ('kd4', (70.0, 70.3, 70.1)),
            ('kd5', (60.0, 60.3, 60.1)),
        )
    ]
    text = said(base, *others, baseline=base)
    for name in ('kd1', 'kd2', 'kd3'):
        assert f'{name} beats base' in text
    assert 'kd4' not in text and 'kd5 is below base' in text


def test_only_runs_that_ended_fell_at_the_end() -> None:
    base, student = group('base', 70.0), group('kd', 69.0)
    run = student.runs[0]
    run.evaluations = [dict(iteration=3 * i, mIoU11=x) for i, x in enumerate((60, 70, 68), 1)]
    assert 'kd peaked at iteration 6' in said(base, student, baseline=base)
    run.state = 'running'
    assert 'peaked' not in said(base, student, baseline=base)
    # With a time budget each seed ends at an iteration of its own: 71 at 10 and at 11.
    ended = group('kd', 68.0, 68.0)
    for i, other in enumerate(ended.runs):
        other.evaluations = [*run.evaluations, dict(iteration=10 + i, mIoU11=71.0)]
    assert 'peaked' not in said(base, ended, baseline=base)


def test_a_pair_has_one_interval() -> None:
    base, rand = group('base', 40.0, 42.4, 42.6), group('rand', 43.0, 44.5, 45.0)
    student = group('kd', 43.0, 44.0, 46.0)
    runs = [*base.runs, *rand.runs, *student.runs]
    study = StudyRecord('s', runs, 'base', {'kd': ['base', 'rand']}, 'mIoU11', 'list', {})
    collection = Collection('s', [base, rand, student], 'mIoU11', base, [study])
    corrected = compare_groups(student, base, 'mIoU11', comparisons=2)
    assert collection.compare(student) == corrected
    assert corrected.verdict == 'noise'
    assert compare_groups(student, base, 'mIoU11').verdict == 'better'


def test_a_seed_that_trains_is_not_suggested() -> None:
    base, student = group('base', 70.0, 70.2, 70.1), group('kd', 71.0, 71.1, 71.2)
    student.runs[2].state = 'running'
    assert not any('More seeds' in str(s.reason) for s in suggest(_two(base, student)))
    # It needs --retry-failed, as the study says; a longer list of seeds does not train it again.
    student.runs[2].state = 'failed'
    assert not any('More seeds' in str(s.reason) for s in suggest(_two(base, student)))


def test_suggested_seeds_keep_those_of_the_baseline() -> None:
    base, student = group('base', *[70.0] * 5), group('kd', 71.0)
    student.runs[0].study_config = 'kd.py'
    (more,) = [s for s in suggest(_two(base, student)) if 'More seeds' in str(s.reason)]
    assert more.lines.startswith('seeds=[0, 1, 2, 3, 4],  # of the runs ')


def test_the_seeds_needed_are_those_of_the_corrected_interval() -> None:
    scores = {0: 70.1, 1: 72.3, 2: 71.0}
    base = dict.fromkeys(scores, 70.0)
    plain, corrected = (paired_difference(scores, base, count) for count in (1, 4))
    assert plain.verdict == corrected.verdict == 'noise'
    for compared, confidence in ((plain, 0.95), (corrected, 0.9875)):
        count = seeds_needed(compared)
        assert half_width(compared.sd, count, confidence) < compared.mean
        assert half_width(compared.sd, count - 1, confidence) >= compared.mean
    assert seeds_needed(corrected) > seeds_needed(plain)


def test_an_unfinished_student_does_not_lead() -> None:
    base, done, runs = group('base', 70.0), group('kd', 71.0), group('kd2', 80.0)
    runs.runs[0].state = 'running'
    collection = Collection('', [base, done, runs], 'mIoU11', base)
    assert collection.students == [done, runs]
    assert collection.best is done
    assert 'kd: +1.00 mIoU11 against base' in str(find(collection)[0])
    assert 'kd reached 71.00 mIoU11, the highest mean' in said(done, runs, baseline=None)
    assert 'the highest mean' not in said(runs, baseline=None)


def test_a_teacher_on_other_data_is_not_compared() -> None:
    base, teacher, own = group('base', 61.0), group('teacher', 45.0), group('kd', 60.0)
    other = group('mine', 50.0, data_root='data/mine')
    for student in (own, other):
        teach(student, teacher)
    assert 'does not beat the baseline' in said(base, own, baseline=base)
    assert 'does not beat the baseline' not in said(base, other, baseline=base)


def _two(base: Group, student: Group) -> Collection:
    return Collection('', [base, student], 'mIoU11', base)


def test_a_group_without_the_metric_is_noted(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    collection = read_collection(list(trained_pair.values()))
    for run in collection.runs:
        assert 'mIoU11' in run.metrics
    other = tmp_path / 'x' / 'vis_data'
    other.mkdir(parents=True)
    (other / 'scalars.json').write_text('{"mIoU": 40.0, "step": 3}\n')
    runs = [dict(name=f.name, work_dir=str(f)) for f in (*trained_pair.values(), tmp_path)]
    (tmp_path / 'study').mkdir()
    notes = read_collection([write_study(tmp_path / 'study', runs)]).notes
    assert f'Left out: {tmp_path.name} has no mIoU11' in map(str, notes)


def test_a_start_from_an_earlier_checkpoint_replaces_what_came_later(tmp_path: Path) -> None:
    starts = ([(1, 60), (2, 65), (3, 75), (4, 71)], [(3, 66)])
    files = []
    for i, start in enumerate(starts):
        rows = [dict(step=10 * n - 5, loss=1.0) for n, _ in start]
        rows += [dict(step=10 * n, mIoU=score) for n, score in start]
        files.append(tmp_path / f'{i}.json')
        files[-1].write_text('\n'.join(map(json.dumps, sorted(rows, key=lambda r: r['step']))))
    rows, _ = read_rows(files)
    assert [(row['step'], row['mIoU']) for row in rows if 'mIoU' in row] == [
        (10, 60),
        (20, 65),
        (30, 66),
    ]


def test_nothing_lies_below_a_weight_of_0() -> None:
    assert at_the_edge({'w': [0.0, 0.5, 1.0]}, {'w': 0.0}) == {}
    assert at_the_edge({'w': [0.1, 0.5, 1.0]}, {'w': 0.1}) == {'w': (0.1, 'lowest')}
    assert at_the_edge({'s': [-1.0, -0.5, 0.0]}, {'s': 0.0}) == {'s': (0.0, 'highest')}


def test_an_easy_seed_alone_does_not_lead() -> None:
    base, whole = group('base', 50.0, 52.0, 54.0), group('whole', 51.0, 53.0, 55.1)
    part = group('part', 54.1, first_seed=2)
    collection = Collection('', [base, part, whole], 'mIoU11', base)
    assert collection.ranked == collection.compared == [whole, part, base]
    text = said(base, part, whole, baseline=base)
    assert text.startswith('whole beats') and 'the highest mean' not in text
    assert 'whole reached 53.03 mIoU11, the highest mean' in said(base, whole, baseline=base)


def test_the_best_of_many_settings_is_partly_luck() -> None:
    base, teacher = group('base', 50.0, 52.0, 54.0), group('teacher', 90.0)
    points = [group(f'kd/{i}', *(50.0 + i + 2 * s for s in range(3))) for i in (1, 2)]
    for point in points:
        teach(point, teacher)
        for run in point.runs:
            run.params = {'lr': 0.1}
    runs = [run for point in points for run in point.runs]
    study = StudyRecord('s', [*base.runs, *runs], 'base', {}, 'mIoU11', 'grid', {'lr': [0.1]})

    def text(*groups: Group) -> str:
        return '\n'.join(map(str, find(Collection('', list(groups), 'mIoU11', base, [study]))))

    assert 'kd/2 was chosen from 2 settings' in text(base, *points)
    assert 'was chosen from' not in text(base, points[1])
    # One of two seeds is no gain that could be luck, and closes no gap.
    assert 'closes' in text(base, *points, teacher)
    for point in points:
        del point.runs[1:]
    few = text(base, *points, teacher)
    assert 'was chosen from' not in few and 'closes' not in few


def test_gains_behind_the_first_places_and_many_divergences_are_said() -> None:
    base = group('base', 50.0, 52.0, 54.0)
    unsure = [group(f'kd{i}', 60.0, 52.0, 62.0) for i in range(4)]
    safe = group('safe', 51.0, 53.1, 55.0)
    text = said(base, *unsure, safe, baseline=base)
    assert 'safe beats base by 1.03' in text and 'kd3' not in text
    for run in (run for each in unsure for run in each.runs):
        run.training = {'step': np.arange(3), 'loss': np.array([1.0, np.nan, np.nan])}
    text = said(base, *unsure, baseline=base)
    assert text.count('its loss was not finite at iteration 1') == 6
    assert '6 more runs diverged.' in text
