"""Runs against their controls: paired, corrected for the number of comparisons."""

import math
from pathlib import Path

import pytest
import scipy.stats
from reports.run_copies import copy_run, write_study

from mmseg_kd.errors import UserError
from mmseg_kd.records.message import MINUS, number
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.findings.scores import find
from mmseg_kd.reports.sections.scores import controls, mean_of
from mmseg_kd.reports.writing.document import NONE
from mmseg_kd.studies.config import load_study

SCORES = {'loss': (43.0, 44.0, 46.0), 'flow': (40.0, 42.4, 42.6), 'random': (43.0, 44.5, 45.0)}


def run(name: str, seed: int, score: float) -> RunRecord:
    record = RunRecord(name, Path(name) / str(seed))
    record.evaluations = [dict(iteration=9, mIoU11=score, mJunctionIoU=score / 2)]
    record.seed, record.state, record.test = seed, 'done', {'mIoU11': score - 3}
    return record


def collection(named: dict[str, list[str]]) -> Collection:
    groups = [
        Group(name, [run(name, seed, score) for seed, score in enumerate(scores)], 'mIoU11')
        for name, scores in SCORES.items()
    ]
    runs = [run for group in groups for run in group.runs]
    study = StudyRecord('s', runs, 'flow', named, 'mIoU11', 'list', {})
    return Collection('s', groups, 'mIoU11', groups[1], [study])


def test_the_interval_is_wider_for_more_comparisons() -> None:
    _, table, explanation = controls(collection({'loss': ['flow', 'random']}))
    rows = [dict(zip(map(str, table.headings), map(str, row), strict=True)) for row in table.rows]
    assert [(row['control'], row['metric']) for row in rows] == [
        ('flow', 'mIoU11, val'),
        ('random', 'mIoU11, val'),
        ('flow', 'mJunctionIoU, val'),
        ('random', 'mJunctionIoU, val'),
        ('flow', 'mIoU11, test'),
        ('random', 'mIoU11, test'),
    ]
    exact = scipy.stats.ttest_1samp((3.0, 1.6, 3.4), 0).confidence_interval(0.975)
    assert rows[0]['difference'] == '+2.67'
    assert rows[0]['interval'].replace(MINUS, '-') == f'[{exact.low:+.2f}, {exact.high:+.2f}]'
    assert (rows[0]['verdict'], rows[0]['seeds']) == ('within noise', '3')
    assert '2 comparisons' in str(explanation.text)
    # Alone, the same difference is more than noise.
    _, table, _ = controls(collection({'loss': ['flow']}))
    assert [str(cell) for cell in table.rows[0]][-1] == 'better'


def test_a_metric_that_is_nan_is_not_compared() -> None:
    runs = collection({'loss': ['flow']})
    for run in runs.groups[0].runs:
        run.evaluations[0]['mJunctionIoU'] = math.nan
    _, table, _ = controls(runs)
    assert [row[2] for row in table.rows] == ['mIoU11, val', 'mIoU11, test']
    assert (mean_of([math.nan, 2.0, None]), mean_of([math.nan])) == ('2.00', NONE)


def test_two_studies_with_runs_of_the_same_names(
    trained_pair: dict[str, Path], tmp_path: Path
) -> None:
    for study, shift in (('a', 1.0), ('b', -5.0)):
        runs = []
        for name, kind, more in (('base', 'baseline', 0.0), ('kd', 'baseline', shift)):
            for seed in range(3):
                folder = tmp_path / study / 'runs' / name / f'seed{seed}'
                copy_run(trained_pair[kind], folder, seed, more + seed / 10 * (name == 'kd'))
                runs.append(dict(name=name, seed=seed, work_dir=f'runs/{name}/seed{seed}'))
        write_study(tmp_path / study, runs, baseline='base', controls={'kd': ['base']})
    found = read_collection([tmp_path / 'a', tmp_path / 'b'])
    assert [group.name for group in found.groups] == ['base', 'kd', 'b/base', 'b/kd']
    pairs = found.controlled
    assert [(one.name, other.name) for one, other in pairs] == [('kd', 'base'), ('b/kd', 'b/base')]
    assert [one.score > other.score for one, other in pairs] == [True, False]


def test_without_controls_there_is_no_section() -> None:
    assert controls(collection({})) == []
    assert controls(collection({'loss': ['of another study']})) == []


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ("{'kd': ['flow']}", "study.controls['kd']: 'flow' is not one of"),
        ("{'other': ['kd']}", "study.controls['other']: 'other' is not one of"),
        ("{'kd': 'kd'}", "study.controls['kd']: expected a list of runs, but got 'kd'"),
    ],
)
def test_unknown_controls_are_named(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / 'study.py'
    config = Path('local_configs/toy/segformer.b0.toy.py').resolve().as_posix()
    file.write_text(f'study = dict(runs=dict(kd=dict(config={config!r})), controls={text})')
    with pytest.raises(UserError) as error:
        load_study(str(file))
    assert said in str(error.value)


def test_the_findings_name_controls_and_losses_that_harm() -> None:
    scores = dict(base=(50.0, 51.0, 52.0), kl=(45.0, 46.4, 47.0), longer=(58.2, 58.9, 60.0))
    scores |= {f'kd{i}': (53.0 + i, 54.1 + i, 55.0 + i) for i in range(3)}
    groups = [
        Group(name, [run(name, seed, score) for seed, score in enumerate(values)], 'mIoU11')
        for name, values in scores.items()
    ]
    runs = [run for group in groups for run in group.runs]
    study = StudyRecord('s', runs, 'base', {'kd2': ['base', 'longer']}, 'mIoU11', 'list', {})
    read = Collection('s', groups, 'mIoU11', groups[0], [study])
    lines = [str(line) for line in find(read)]
    # Two controls were named, so each interval is wider, in all parts of the report.
    low, high = scipy.stats.ttest_rel(scores['kd2'], scores['base']).confidence_interval(0.975)
    # A control is not a student, so the best one is kd2, also in the figures.
    assert read.best.name == 'kd2'
    assert (
        lines[0]
        == f'kd2 beats base by 5.03 mIoU11 (3 seeds, 97.5 % interval [+{low:.2f}, +{high:.2f}]).'
    )
    # The fourth student is named, because it is worse than the baseline.
    assert any(line.startswith('kl is below base by 4.87 mIoU11') for line in lines)
    low, high = scipy.stats.ttest_rel(scores['kd2'], scores['longer']).confidence_interval(0.975)
    low, high = number(low, '+.2f'), number(high, '+.2f')
    expected = f'kd2 is below longer by 3.00 mIoU11 (3 seeds, 97.5 % interval [{low}, {high}]).'
    found = [line for line in lines if 'longer' in line and 'kd2' in line]
    assert found == [expected, expected.replace('mIoU11', 'mIoU11 on the test split')]
    assert not any(line.startswith('longer beats') for line in lines)
    # A control that is distilled too is a student.
    for record in read.groups[2].runs:
        record.teachers = {'teacher': {}}
    assert read.best.name == 'longer'
