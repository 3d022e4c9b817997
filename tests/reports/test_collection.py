"""Which runs belong together, and what they are compared with."""

from collections.abc import Callable
from pathlib import Path

import pytest
from reports.run_copies import copy_run, set_curve, write_study

from mmseg_kd.errors import UserError
from mmseg_kd.records.class_scores import ClassScores
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.study_file import read_study
from mmseg_kd.reports.comparing.collecting import _baseline, _common_name, read_collection
from mmseg_kd.reports.findings.scores import find
from mmseg_kd.reports.sections.facts import settings
from mmseg_kd.reports.sections.scores import comparison_table


@pytest.fixture
def folders(trained_pair: dict[str, Path], tmp_path: Path) -> list[Path]:
    """Three seeds of the baseline, three of the student, one baseline of another rate."""
    made = []
    for seed, shift in enumerate((0.0, 1.0, -1.0)):
        base, student = tmp_path / f'plain_s{seed}', tmp_path / f'kd_seed{seed}'
        made.append(copy_run(trained_pair['baseline'], base, seed, shift))
        made.append(copy_run(trained_pair['student'], student, seed, shift + 2 + seed / 10))
        for folder, level in ((base, 30.0), (student, 32.0 + seed / 10)):
            set_curve(folder, [10.0, 20.0, level + shift])
    return made


def test_seeds_are_found_by_the_config(folders: list[Path], tmp_path: Path) -> None:
    short = {'max_iters=9': 'max_iters=8'}
    other = copy_run(folders[0], tmp_path / 'plain_short', 3, settings=short)
    again = copy_run(folders[0], tmp_path / 'plain_again', 0)
    collection = read_collection([*folders, other, again])
    seeds = {group.name: [run.seed for run in group.runs] for group in collection.groups}
    assert seeds == {
        'plain': [0, 1, 2],
        'kd': [0, 1, 2],
        'plain_short': [3],
        'plain_again': [0],
    }
    assert collection.metric == 'mIoU11'


@pytest.mark.parametrize(
    ('names', 'common'),
    [
        (['kd_s0', 'kd_s1'], 'kd'),
        (['kd_s41', 'kd_s42'], 'kd'),
        (['kd.seed_10', 'kd.seed_11'], 'kd'),
        (['kd_losses', 'kd_losses_s1'], 'kd_losses'),
        (['b0', 'b0_s1'], 'b0'),
        (['lr_0.01', 'lr_0.01_s1'], 'lr_0.01'),
        (['s0', 's1'], 's0'),
    ],
)
def test_seeds_are_not_in_the_name(names: list[str], common: str) -> None:
    assert _common_name(names) == common


def test_folders_of_a_study_have_the_names_of_its_runs(
    trained_pair: dict[str, Path], tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ('baseline/seed0', 'baseline/seed1', 'grid/3/seed0')]
    for seed, folder in enumerate(folders[:2]):
        copy_run(trained_pair['baseline'], folder, seed)
    copy_run(trained_pair['student'], folders[2], 0)
    collection = read_collection(folders)
    assert [group.name for group in collection.groups] == ['baseline', 'grid/3']
    assert collection.baseline.name == 'baseline'


def test_equal_names_are_told_apart_by_the_folders_above(
    trained_pair: dict[str, Path], tmp_path: Path
) -> None:
    folders = [tmp_path / x for x in ('a/kd_s3/seed0', 'b/kd_s3/seed0', 'a/kd', 'b/kd')]
    for i, folder in enumerate(folders):
        copy_run(
            trained_pair['baseline'], folder, i, settings={'max_iters=9': f'max_iters={i + 9}'}
        )
    names = [group.name for group in read_collection(folders).groups]
    assert names == ['kd_s3', 'b/kd_s3', 'kd', 'b/kd']


def test_a_run_without_a_config_does_not_stand_for_its_group(folders: list[Path]) -> None:
    collection = read_collection(folders)
    (student,) = collection.students
    student.runs.insert(0, RunRecord('kd', Path('failed'), state='failed'))
    assert student.first is student.runs[1]
    assert 'kd_losses' in str(settings(collection))
    assert _baseline(collection.groups, None) is collection.baseline


def test_a_study_can_be_given_twice(folders: list[Path], tmp_path: Path) -> None:
    runs = [dict(name='a', work_dir='plain_s0'), dict(name='b', work_dir='kd_seed0')]
    write_study(tmp_path, runs, baseline='a', controls={'b': ['a']})
    assert len(read_collection([tmp_path, tmp_path]).controlled) == 2


def test_seeds_with_a_budget_belong_together(folders: list[Path], tmp_path: Path) -> None:
    for seed, length in enumerate((8, 9)):
        budget = f'max_iters={length}, time_budget=60.0, seconds_per_iter={60 / length}'
        copy_run(folders[0], tmp_path / f'timed_s{seed}', seed, settings={'max_iters=9': budget})
    collection = read_collection([tmp_path / f'timed_s{seed}' for seed in range(2)])
    assert [[run.seed for run in group.runs] for group in collection.groups] == [[0, 1]]


def test_the_differences_are_those_of_the_seeds(folders: list[Path]) -> None:
    collection = read_collection(folders)
    assert collection.baseline.name == 'plain'
    (student,) = collection.students
    compared = collection.compare(student)
    assert compared.differences == pytest.approx((2.0, 2.1, 2.2))
    assert compared.verdict == 'better'


def test_one_comparison_is_one_number(folders: list[Path], tmp_path: Path) -> None:
    # The student lacks the seed in which the baseline was weakest; its mean says too little.
    collection = read_collection(folders[:-1])
    baseline, (student,) = collection.baseline, collection.students
    means = student.score - baseline.score
    assert means == pytest.approx(2.55)
    assert collection.compare(student).mean == pytest.approx(2.05)
    table = comparison_table(collection, collection.compared, {})
    (row,) = (r for r in table.rows if r[0] == 'kd')
    assert row[4] == '+2.05'
    assert '+2.05 mIoU11' in '\n'.join(map(str, find(collection)))
    # So with the classes.
    for run in baseline.runs:
        step = run.best('mIoU11')['iteration']
        run.classes[step] = ClassScores({'Sky': 50.0 + 10 * run.seed})
    for run in student.runs:
        step = run.best('mIoU11')['iteration']
        run.classes[step] = ClassScores({'Sky': 51.0 + 10 * run.seed})
    assert collection.class_differences(student) == {'Sky': 1.0}
    assert collection.compare(baseline) is None


def test_unfinished_runs_are_not_compared(folders: list[Path]) -> None:
    set_curve(folders[-1], [10.0, 50.0])
    (file,) = folders[-1].glob('*/vis_data/scalars.json')
    lines = [line for line in file.read_text().splitlines() if '"step": 9' not in line]
    file.write_text('\n'.join(lines))
    collection = read_collection(folders)
    (student,) = collection.students
    assert student.runs[2].state == 'unfinished'
    assert collection.compare(student).seeds == (0, 1)
    # Nor are they in the mean.
    assert [score for _, score in student.scores] == [32.0, 33.1]
    assert len(student.measured) == 3


def test_the_baseline_can_be_named(folders: list[Path]) -> None:
    assert read_collection(folders, 'kd').baseline.name == 'kd'
    assert read_collection(folders, 'plain_s1').baseline.name == 'plain'
    with pytest.raises(UserError, match='there is no such run; choose from plain, kd'):
        read_collection(folders, 'lost')


def test_a_teacher_is_no_student(trained_pair: dict[str, Path]) -> None:
    collection = read_collection(list(trained_pair.values()))
    assert [group.name for group in collection.students] == ['student']
    # Unless the other run is the baseline.
    collection.baseline = collection.students[0]
    assert [group.name for group in collection.teachers] == ['baseline']


def test_a_study_that_was_moved_knows_its_teacher(
    trained_pair: dict[str, Path], tmp_path: Path
) -> None:
    needs = {'model.teacher.checkpoint': 'big'}
    runs = [dict(name=name, work_dir=name) for name in ('none', 'big', 'student')]
    for run in runs:
        copy_run(
            trained_pair['student' if run['name'] == 'student' else 'baseline'],
            tmp_path / run['name'],
        )
    runs[2]['needs'] = needs
    collection = read_collection([write_study(tmp_path, runs, baseline='none')])
    assert [group.name for group in collection.teachers] == ['big']


def test_one_broken_folder_does_not_spoil_the_rest(folders: list[Path], tmp_path: Path) -> None:
    broken = copy_run(folders[0], tmp_path / 'broken')
    (file,) = broken.glob('*/vis_data/scalars.json')
    file.write_bytes(b'\x00\xff\n\x00')
    collection = read_collection([broken, *folders])
    assert 'broken' in str(collection.notes[0])
    assert len(collection.runs) == 6
    with pytest.raises(UserError, match='does not exist'):
        read_collection([*folders, tmp_path / 'misspelt'])


def test_a_study(folders: list[Path], tmp_path: Path) -> None:
    runs = [
        dict(name=name, seed=seed, work_dir=f'{folder}{seed}')
        for name, folder in (('a', 'plain_s'), ('b', 'kd_seed'))
        for seed in range(3)
    ]
    runs += [
        dict(name='b', seed=3, work_dir='runs/b/seed3', state='failed', error='out of memory'),
        dict(name='b', seed=4, work_dir='runs/b/seed4', state='waiting'),
    ]
    write_study(tmp_path, runs, baseline='a')
    collection = read_collection([tmp_path])
    assert collection.title == tmp_path.name
    assert collection.baseline.name == 'a'
    assert [len(group.runs) for group in collection.groups] == [3, 5]
    assert collection.compare(collection.groups[1]).seeds == (0, 1, 2)
    assert collection.groups[1].runs[3].error == 'out of memory'


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text[:-1],
        lambda text: '[]',
        lambda text: text.replace('"mIoU11"', '5'),
        lambda text: text.replace('"seed": 0', '"seed": "0"'),
        lambda text: text.replace('"space": {}', f'"space": {5000 * "9"}'),
        lambda text: text.replace('"space": {}', f'"space": {50_000 * "[" + 50_000 * "]"}'),
    ],
    ids=['torn', 'list', 'metric', 'seed', 'digits', 'deep'],
)
def test_a_damaged_study_is_one_line(tmp_path: Path, change: Callable[[str], str]) -> None:
    file = write_study(tmp_path, [dict(name='a', work_dir='a')]) / 'study.json'
    assert read_study(tmp_path).metric == 'mIoU11'
    text = file.read_text()
    file.write_text(change(text))
    assert file.read_text() != text
    with pytest.raises(UserError, match=r'study\.json is damaged or is not') as error:
        read_collection([tmp_path])
    assert '\n' not in str(error.value)
