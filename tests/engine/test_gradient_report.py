"""Reports of the gradient: what they hold, what they say, and that training is the same."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from killing import Kill, KillAt
from matplotlib.image import imread
from mmengine.config import Config

from mmseg_kd.config import choose_start
from mmseg_kd.config.values import wrong_values
from mmseg_kd.distillation.gradient_diagnosis import (
    DOMINANT,
    OFF,
    FullWeight,
    diagnose,
    full_weight,
)
from mmseg_kd.distillation.gradients import GradientStats, weight_for
from mmseg_kd.distillation.schedules import scheduled
from mmseg_kd.engine import build_runner
from mmseg_kd.records.gradient_reports import read_reports
from mmseg_kd.visualization.gradient_figure import gradient_figure


def kd_config(
    folder: Path, teacher: dict, interval: int | None = 2, losses: Any = None, **options: Any
) -> Any:
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses or KD_LOSSES)
    cfg = tiny_config(folder, model=model, **options)
    hook = dict(type='GradientReportHook', interval=interval)
    cfg.default_hooks.gradient_report = None if interval is None else hook
    return cfg


def train(cfg: Any, resume: str | None = None, kill: int | None = None) -> Any:
    choose_start(cfg, resume)
    runner = build_runner(cfg)
    if kill is not None:
        runner.register_hook(KillAt('after_train_iter', kill), priority='LOWEST')
    runner.train()
    return runner


def log_of(folder: Path) -> str:
    return ''.join(file.read_text() for file in sorted(folder.glob('*/*.log')))


def report(iteration: int = 0, task: float = 1.0, **losses: Any) -> dict:
    """A report of losses given as (norm at the features, weight)."""
    rows = {}
    for name, (features, weight) in losses.items():
        cosine = 0.5 if features else None
        rows[name] = dict(features=features, weight=weight, raw=1.0, cosine=cosine)
    return {'iter': iteration, 'task': {'features': task}, 'losses': rows}


def weights(**values: Any) -> dict[str, FullWeight]:
    return {name: full_weight(name, scheduled(value)) for name, value in values.items()}


def messages(reports: list[dict], **values: Any) -> dict[str, str]:
    return {name: f.message for name, f in diagnose(reports, weights(**values)).items()}


def test_the_reports_hold_what_was_logged_and_measured(tmp_path: Path, teacher: dict) -> None:
    late = dict(type='Stop', value=1.0, at_iter=3)
    losses = KD_LOSSES | dict(at_loss=dict(type='AttentionTransferLoss', loss_weight=late))
    runner = train(kd_config(tmp_path, teacher, losses=losses))
    reports = read_reports(tmp_path / 'gradients.jsonl')
    assert [row['iter'] for row in reports] == [0, 2, 4]
    logged = {
        key: runner.message_hub.get_scalar(f'train/{key}').data[0].tolist()
        for key in ('kl_loss', 'kl_raw', 'at_loss', 'decode.loss_ce')
    }
    for row in reports:
        i, kl = row['iter'], row['losses']['kl_loss']
        assert (kl['weighted'], kl['raw']) == (logged['kl_loss'][i], logged['kl_raw'][i])
        assert row['losses']['at_loss']['weighted'] == logged['at_loss'][i]
        assert row['task']['weighted'] == logged['decode.loss_ce'][i]
        parts = [row['task'], *row['losses'].values()]
        assert sum(part['share'] for part in parts) == pytest.approx(1)
        norms = [part['features'] for part in parts]
        assert kl['share'] == pytest.approx(kl['features'] / sum(norms))
        assert row['task']['features'] > 0 and kl['features'] > 0 and kl['logits'] > 0
        assert -1 <= kl['cosine'] <= 1
    assert [row['losses']['at_loss']['weight'] for row in reports] == [1.0, 1.0, 0.0]
    stopped = reports[2]['losses']['at_loss']
    assert (stopped['share'], stopped['cosine'], stopped['raw']) == (0.0, None, None)

    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    rows = [row for row in rows if 'gradient/task_share' in row]
    assert [row['step'] for row in rows] == [1, 3, 5]
    for key in ('share', 'cosine', 'features', 'logits'):
        assert rows[1][f'gradient/kl_loss_{key}'] == reports[1]['losses']['kl_loss'][key]
    assert 'gradient/at_loss_cosine' not in rows[2]

    text = log_of(tmp_path)
    lines = [line.split('INFO - ')[1] for line in text.splitlines() if 'gradient at' in line]
    share, cosine = (reports[0]['losses']['kl_loss'][key] for key in ('share', 'cosine'))
    assert lines[0].startswith('gradient at 0: labels ')
    assert f'kl_loss {100 * share:.1f} % (cos {cosine:+.2f})' in lines[0]
    assert 'at_loss weight 0, sp_loss' in lines[2]
    assert not any('gradient/' in line for line in text.splitlines() if 'Iter(train)' in line)
    assert imread(tmp_path / 'gradients.png').shape[1] == 1000


@pytest.mark.slow
def test_the_training_is_the_same_with_the_hook_and_without(tmp_path: Path, teacher: dict) -> None:
    share = dict(type='GradientShare', share=0.2, interval=3)
    losses = KD_LOSSES | dict(at_loss=dict(type='AttentionTransferLoss', loss_weight=share))
    for name, kinds in (('plain', KD_LOSSES), ('share', losses)):
        runs = [
            train(kd_config(tmp_path / f'{name}{interval}', teacher, interval, kinds))
            for interval in (None, 1)
        ]
        without, with_hook = (run.bare_model.state_dict() for run in runs)
        for key, value in without.items():
            assert torch.equal(with_hook[key], value), key
        assert not (tmp_path / f'{name}None' / 'gradients.jsonl').exists()


@pytest.mark.slow
def test_a_killed_and_resumed_run_reports_the_same_lines(tmp_path: Path, teacher: dict) -> None:
    train(kd_config(tmp_path / 'whole', teacher, 1))
    whole = (tmp_path / 'whole' / 'gradients.jsonl').read_text()
    assert len(whole.splitlines()) == 6
    with pytest.raises(Kill):
        train(kd_config(tmp_path / 'cut', teacher, 1), kill=4)
    file = tmp_path / 'cut' / 'gradients.jsonl'
    assert [row['iter'] for row in read_reports(file)] == [0, 1, 2, 3, 4]
    with file.open('a') as damaged:
        damaged.write('{"iter": 5, "task": {"fea')
    train(kd_config(tmp_path / 'cut', teacher, 1), resume='auto')
    assert file.read_text() == whole
    assert (tmp_path / 'cut' / 'gradients.png').is_file()


def test_a_new_run_begins_the_file_anew(tmp_path: Path, teacher: dict) -> None:
    (tmp_path / 'gradients.jsonl').write_text(json.dumps(report(100, kl_loss=(1.0, 1.0))))
    train(kd_config(tmp_path, teacher, train_cfg__max_iters=3))
    assert [row['iter'] for row in read_reports(tmp_path / 'gradients.jsonl')] == [0, 2]


def test_without_distillation_it_does_nothing(tmp_path: Path) -> None:
    hook = dict(type='GradientReportHook', interval=1)
    train(tiny_config(tmp_path, train_cfg__max_iters=3, default_hooks__gradient_report=hook))
    assert not list(tmp_path.glob('gradients*'))


@pytest.mark.parametrize('interval', [0, -5, 2.5, True])
def test_an_interval_that_is_none_is_refused(interval: Any) -> None:
    cfg = Config(dict(default_hooks=dict(gradient_report=dict(interval=interval))))
    problem = f'{interval!r} is not a whole number from 1 up'
    assert list(wrong_values(cfg)) == [('default_hooks.gradient_report.interval', problem)]


def test_a_loss_is_reported_once_and_not_again_after_resuming(
    tmp_path: Path, teacher: dict
) -> None:
    losses = KD_LOSSES | dict(sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1e-9))
    with pytest.raises(Kill):
        train(kd_config(tmp_path, teacher, 1, losses), kill=4)
    text = log_of(tmp_path)
    assert text.count('sp_loss has almost no effect') == 1
    assert 'model.kd_losses.sp_loss.loss_weight=' in text
    train(kd_config(tmp_path, teacher, 1, losses), resume='auto')
    assert log_of(tmp_path).count('sp_loss has almost no effect') == 1


def test_a_loss_that_is_switched_off() -> None:
    reports = [report(sp_loss=(norm, 1.0), kl_loss=(1.0, 1.0)) for norm in (1e-4, 2e-4, 3e-4)]
    # 2e-4 of a total of 2: 0.01 %. To have 10 %, the norm must be a ninth of the others' 2.
    assert messages(reports, sp_loss=1.0, kl_loss=1.0) == {
        'sp_loss': 'sp_loss has almost no effect (0.01 % of the gradient norm). Set '
        'model.kd_losses.sp_loss.loss_weight=100 for about 0.99 % '
        '(one step is at most 100 times, or to 1; then measure again)'
    }
    assert not messages(reports[:2], sp_loss=1.0, kl_loss=1.0)
    # The last three count.
    recovered = [*reports, *[report(sp_loss=(0.1, 1.0), kl_loss=(1.0, 1.0))] * 3]
    assert not messages(recovered, sp_loss=1.0, kl_loss=1.0)


def test_the_suggestion_is_from_all_reports() -> None:
    # The last three are of a training that collapses: its labels have hardly a gradient left.
    reports = [report(a=(0.0005, 1.0))] * 5
    reports += [report(task=t, a=(0.000001 * t, 1.0)) for t in (0.1, 0.01, 0.001)]
    text = messages(reports, a=1.0)['a']
    assert '(0.0001 % of the gradient norm)' in text
    # By those three alone it would be 111,000.
    assert 'loss_weight=100 for about 4.8 % (one step is at most 100 times, or' in text


def test_a_loss_that_dominates_the_others() -> None:
    reports = [report(kl_loss=(499.0, 2.0), sp_loss=(1e-5, 1.0))] * 3
    better = weight_for(0.1, GradientStats(249.5, 0.0, math.nan), 1.00001)
    # sp_loss may be sound once kl_loss is.
    assert messages(reports, kl_loss=2.0, sp_loss=1.0) == {
        'kl_loss': "kl_loss dominates the labels' loss (99.8 % of the gradient norm). "
        f'Set model.kd_losses.kl_loss.loss_weight={better:.3g} for about 10 %'
    }


def test_the_suggested_weight_gives_the_share() -> None:
    reports = [report(task=t, a=(w * 3.0, w), b=(0.5, 1.0)) for t, w in ((1, 1e-6), (2, 1e-6))]
    reports.append(report(task=3.0, a=(3e-6, 1e-6), b=(0.5, 1.0)))
    text = messages(reports, a=1e-6, b=1.0)['a']
    weight = float(text.split('loss_weight=')[1].split()[0])
    assert 3 * weight / (3 * weight + 2.5) == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    'weight', [0.0, dict(type='GradientShare', share=0.1), dict(type='Stop', value=1.0, at_iter=1)]
)
def test_a_weight_that_is_meant_is_not_reported(weight: Any) -> None:
    now = 1e-5 if isinstance(weight, dict) and weight['type'] == 'GradientShare' else 0.0
    row = report(a=(now, now))
    row['losses']['a']['cosine'] = 0.5
    assert not messages([row] * 3, a=weight)


def test_a_schedule_is_judged_at_its_full_weight() -> None:
    warmup = dict(type='LinearWarmup', end=1000, value=dict(type='Stop', value=2.0, at_iter=9000))
    # At the full weight of 2 the norm is 0.2: only the warm-up makes it small.
    assert not messages([report(a=(1e-6, 1e-5))] * 3, a=warmup)
    text = messages([report(a=(1e-9, 1e-5))] * 3, a=warmup)['a']
    assert '(0.02 % of the gradient norm at its full weight)' in text
    assert 'Set model.kd_losses.a.loss_weight.value.value=200 for' in text
    # So are the others: at full weights a has 60 and b 40, of 101.
    early = [report(a=(0.3, 0.01), b=(0.2, 0.005))] * 3
    assert 'a dominates' in messages(early, a=warmup, b=0.005)['a']
    assert not messages(early, a=warmup, b=warmup | dict(value=1.0))


def test_a_loss_that_does_not_reach_the_backbone() -> None:
    rows = [report(a=(0.0, 1.0))] * 3
    assert "no gradient of a reaches the backbone's stages" in messages(rows, a=1.0)['a']
    # A share of nothing stays at weight 0.
    share = dict(type='GradientShare', share=0.1)
    assert 'no gradient of a reaches' in messages([report(a=(0.0, 0.0))] * 3, a=share)['a']
    # Without a gradient of the labels it has no cosine either, which shows nothing.
    assert not messages([report(task=0.0, a=(0.0, 0.0))] * 3, a=share)


@pytest.mark.parametrize('weight', [1.0, dict(type='GradientShare', share=0.1)])
def test_a_loss_that_is_exactly_0(weight: Any) -> None:
    now = 0.0 if isinstance(weight, dict) else 1.0
    same, other = report(a=(0.0, now)), report(a=(0.0, now))
    same['losses']['a']['raw'] = 0.0
    assert 'a was exactly 0 in the last 3 reports' in messages([same] * 3, a=weight)['a']
    assert 'exactly 0' not in str(messages([same, same, other], a=weight))
    # Switched off on purpose, or not computed because its schedule gives 0.
    assert not messages([same] * 3, a=0.0)
    same['losses']['a']['raw'] = None
    assert not messages([same] * 3, a=weight)


def test_what_is_not_finite_is_not_judged() -> None:
    row = report(a=(1e-9, 1.0))
    row['task']['features'] = None
    assert not messages([row] * 3, a=1.0)


def test_the_picture_of_nothing_and_of_many_reports(tmp_path: Path) -> None:
    empty = dict(share=None, weighted=None, cosine=None)
    first = [{'iter': 0, 'task': empty, 'losses': {'a': empty}}]
    gradient_figure(first, tmp_path / 'a.png', (OFF, DOMINANT))
    names = [f'loss_{i}' for i in range(8)]
    row = dict(share=0.1, weighted=1.0, cosine=0.5)
    many = [{'iter': 50 * i, 'task': row, 'losses': dict.fromkeys(names, row)} for i in range(100)]
    gradient_figure(many, tmp_path / 'b.png', (OFF, DOMINANT))
    assert imread(tmp_path / 'a.png').shape == imread(tmp_path / 'b.png').shape
