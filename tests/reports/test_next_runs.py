"""The runs that a report suggests, and what they can be compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reports.drawn_figures import keep_figures
from reports.test_unlike_runs import group, said, teach

from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.figures.curves import learning_curves
from mmseg_kd.reports.findings.next_runs import suggest


def suggested(*groups: Group) -> dict[str, str]:
    """The lines by reason; the first group is the baseline."""
    found = suggest(Collection('', list(groups), 'mIoU11', groups[0]))
    return {str(each.reason): each.lines for each in found}


def more_seeds(*groups: Group) -> str:
    return next(lines for reason, lines in suggested(*groups).items() if 'More seeds' in reason)


def evaluate(group: Group, *scores: float, ends: tuple[int, ...] = (9,)) -> Group:
    """Give the runs these scores; the last one at the end of each run."""
    for i, run in enumerate(group.runs):
        steps = [*range(1, len(scores)), ends[i % len(ends)]]
        run.evaluations = [
            dict(iteration=step, mIoU11=x) for step, x in zip(steps, scores, strict=True)
        ]
    return group


def in_study(group: Group, **settings: Any) -> Group:
    for run in group.runs:
        run.study_config = 'kd.py'
        for name, value in settings.items():
            setattr(run, name, value)
    return group


@pytest.mark.parametrize('written', ['dict({}\n)', '{{{}\n}}'])
def test_more_seeds_of_a_point_train_no_other_point(written: str) -> None:
    point = dict(params={'lr': 0.1}, options={'lr': 0.1}, needs={'load_from': 'base'})
    base, best = in_study(group('base', 70.0)), in_study(group('kd/2', 71.0), **point)
    lines = more_seeds(base, best, in_study(group('kd/1', 70.5), **point))
    # Seed 0 chose the point.
    assert lines.endswith('\n# and in the run base: seeds=[0, 1, 2, 3],')
    # A baseline that has them needs none.
    assert '# and' not in more_seeds(in_study(group('base', 70.0, 70.1, 70.2, 70.3)), best)
    entry = dict(config='kd.py', needs={'load_from': 'base'}, options={'lr': 0.1}, seeds=[1, 2, 3])
    assert eval(written.format(lines)) == {'kd_2_seeds': entry}


def test_seeds_that_one_of_them_has_come_first() -> None:
    base, student = group('base', 70.0, first_seed=7), group('kd', 71.0, 71.5, 72.0, first_seed=7)
    lines = more_seeds(base, student)
    assert lines.count('randomness.seed=') == 2
    assert 'randomness.seed=8' in lines and 'randomness.seed=9' in lines
    assert (
        more_seeds(in_study(base), in_study(student))
        == 'seeds=[7, 8, 9],  # of the runs kd and base'
    )


def test_a_run_of_a_study_gets_its_seeds_there() -> None:
    base, student = in_study(group('base', 70.0)), group('kd', 71.0)
    *commands, line = more_seeds(base, student).splitlines()
    assert line == 'seeds=[0, 1, 2],  # of the runs kd and base'
    assert [command.split()[:2] for command in commands] == [['python', 'tools/train.py']] * 2


def longer(*groups: Group) -> list[str]:
    return [reason.split()[1] for reason in suggested(*groups) if '1.5x longer' in reason]


def of_length(group: Group, max_iters: int = 9, **settings: Any) -> Group:
    for run in group.runs:
        run.config |= dict(train_cfg=dict(max_iters=max_iters), **settings)
    return group


def test_the_baseline_trains_as_long_as_its_student() -> None:
    names = ('base', 'kd1', 'kd2', 'kd3')
    groups = [of_length(group(name, 70.0 + i)) for i, name in enumerate(names)]
    assert longer(*groups) == ['kd3', 'base', 'kd2']


def test_unequal_lengths_are_reported() -> None:
    base, student = of_length(group('base', 70.0)), of_length(group('kd', 71.0), 18)
    sentence = 'kd trained for 18 iterations, base for 9: a part of the difference'
    assert sentence in said(base, student, baseline=base)
    assert 'iterations, base for' not in said(base, of_length(student, 9), baseline=base)
    for run in of_length(student, 18).runs:
        run.config['train_cfg'] |= dict(time_budget=60)
    assert 'iterations, base for' not in said(base, student, baseline=base)


def test_unequal_numbers_of_evaluations_are_reported() -> None:
    base, student = evaluate(group('base', 0.0), 70), evaluate(group('kd', 0.0), 70, 72, 71)
    sentence = 'Evaluations: kd has 3, base has 1. The best of more'
    assert sentence in said(base, student, baseline=base)
    assert 'Evaluations: ' not in said(evaluate(base, 70, 71, 72, 73), student, baseline=base)


def test_seeds_with_ends_of_their_own_have_no_common_course() -> None:
    base = of_length(group('base', 70.0))
    student = of_length(group('kd', 0.0, 0.0, 0.0))
    assert 'kd' in longer(base, evaluate(student, 20, 30, 41))
    # Falls at its end, which is not at a common iteration.
    assert 'kd' not in longer(base, evaluate(student, 20, 30, 41, 33, ends=(7, 8, 9)))


def test_the_schedule_of_a_loss_ends_with_a_longer_training() -> None:
    weight = dict(type='LinearDecay', value=1.0, end=9)
    losses = dict(kl_loss=dict(loss_weight=weight), at_loss=dict(loss_weight=dict(end=5)))
    student = of_length(group('kd', 71.0), model=dict(kd_losses=losses))
    (lines,) = [
        x for reason, x in suggested(group('base', 70.0), student).items() if '1.5x' in reason
    ]
    assert 'model.kd_losses.kl_loss.loss_weight.end=14' in lines and 'at_loss' not in lines


def test_the_weight_within_a_schedule_is_suggested() -> None:
    weight = dict(type='LinearDecay', value=1.0, end=9)
    student = of_length(group('kd', 71.0), model=dict(kd_losses=dict(kl=dict(loss_weight=weight))))
    row = dict(raw=1.0, weight=0.5, features=1e-4, cosine=0.1)
    student.runs[0].gradients = [
        dict(iter=i, task=dict(features=1.0), losses={'kl': row}) for i in range(3)
    ]
    found = suggested(group('base', 70.0), student).items()
    (lines,) = [x for reason, x in found if 'a tenth of the gradient' in reason]
    assert 'model.kd_losses.kl.loss_weight.value=100' in lines


def test_an_entry_has_the_seeds_of_its_run() -> None:
    base, student = group('base', 70.0), of_length(in_study(group('kd', 71.0, first_seed=3)))
    lines = suggested(base, student)
    (text,) = [text for reason, text in lines.items() if '1.5x longer' in reason]
    assert eval(f'dict({text})')['kd_longer']['seeds'] == [3]
    # What was done is not suggested again.
    assert longer(base, student, group('kd_longer', 72.0)) == []


def test_a_control_does_not_lead() -> None:
    base, teacher = group('base', 70.0, 70.1, 70.2), group('teacher', 80.0)
    student, control = group('kd', 71.0, 71.2, 71.1), group('labels', 73.0, 73.1, 73.2)
    teach(student, teacher)
    teach(control, teacher)
    for run in control.runs:
        run.config['model'] = dict(kd_losses=dict(kl_loss=dict(control='labels')))
    collection = Collection('', [base, teacher, student, control], 'mIoU11', base)
    assert collection.students == [student, control] and collection.best is student
    text = said(base, teacher, student, control, baseline=base)
    assert 'kd closes' in text and 'labels closes' not in text
    assert 'labels beats base by 3.00' in text


def test_seeds_that_end_apart_are_drawn_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = keep_figures(monkeypatch)
    base = group('base', 70.0, 70.5)
    student = evaluate(group('kd', 0.0, 0.0, 0.0), 20, 30, 41, ends=(7, 8, 9))
    learning_curves(Collection('', [base, student], 'mIoU11', base), tmp_path)
    drawn = [line.get_xdata()[-1] for line in figures['learning_curves'].axes[0].lines]
    assert sorted(drawn) == [7, 8, 9, 9]
