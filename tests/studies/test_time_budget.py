"""A budget of seconds becomes a number of iterations, and the run keeps it."""

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, ROOT, run, tiny_config, tiny_model
from mmengine.config import Config
from optuna.storages import InMemoryStorage

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config import choose_start, load_config
from mmseg_kd.distillation.schedules import scheduled
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.hooks import time_hooks
from mmseg_kd.errors import UserError
from mmseg_kd.records.run_record import read_run
from mmseg_kd.records.scalars import read_curves
from mmseg_kd.studies import commands, time_budget
from mmseg_kd.studies.commands import describe_plan
from mmseg_kd.studies.config import load_study
from mmseg_kd.studies.plan import plan_study
from mmseg_kd.studies.sharing.run_queue import RunQueue
from mmseg_kd.studies.sharing.storage import open_storage
from mmseg_kd.studies.time_budget import _short, fit_time_budget, set_length
from mmseg_kd.studies.training_process import Task, run_training

B0 = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py')
TOY = str(ROOT / 'local_configs/toy/segformer.b0.toy.py')
BUDGET = dict(train_cfg__time_budget=0.6, train_cfg__seconds_per_iter=0.1)


@pytest.fixture
def not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_budget, 'measure', not_to_be_called)


def not_to_be_called(*_: object) -> float:
    raise AssertionError('it was timed')


def weights(folder: Path, iteration: int) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / f'iter_{iteration}.pth')['state_dict']


def test_a_budget_is_timed_and_changes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: dict
) -> None:
    monkeypatch.setitem(time_budget.PACE_HOOK, 'seconds', 0.02)
    losses = dict(
        kl_loss=KD_LOSSES['kl_loss'] | dict(loss_weight=dict(type='GradientShare', share=0.2))
    )
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses)
    options = dict(model=model, train_cfg__val_interval=100)
    cfg = tiny_config(tmp_path / 'budget', train_cfg__time_budget=0.2, **options)
    before = torch.get_rng_state()
    fit_time_budget(cfg)
    assert torch.equal(torch.get_rng_state(), before)
    loop = cfg.train_cfg
    assert loop.max_iters == max(round(0.2 / loop.seconds_per_iter), 1)
    build_runner(cfg).train()
    plain = tiny_config(tmp_path / 'plain', train_cfg__max_iters=loop.max_iters, **options)
    build_runner(plain).train()
    ours, theirs = (weights(tmp_path / name, loop.max_iters) for name in ('budget', 'plain'))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    # The config that the run dumps has what it was measured as.
    dumped = Config.fromfile(next((tmp_path / 'budget').glob('*/vis_data/config.py'))).train_cfg
    assert dumped.to_dict() == loop.to_dict()
    record = read_run(tmp_path / 'budget')
    assert (record.max_iters, record.state) == (loop.max_iters, 'done')
    log = next((tmp_path / 'budget').glob('*/*.log')).read_text(encoding='utf-8')
    line = f'time_budget=0.2: {loop.max_iters} iterations at {loop.seconds_per_iter:g} s each'
    assert log.count(line) == 1


def train(cfg: Config, resume: str | None = None) -> Config:
    choose_start(cfg, resume)
    fit_time_budget(cfg)
    build_runner(cfg).train()
    return cfg


def test_a_resumed_run_keeps_its_pace(tmp_path: Path, not_timed: None) -> None:
    assert train(tiny_config(tmp_path, **BUDGET)).train_cfg.max_iters == 6
    first = read_checkpoint(tmp_path / 'iter_6.pth')['message_hub']['runtime_info']
    assert first['seconds_per_iter'] == 0.1
    # Neither what the config says now nor what this machine would measure.
    again = tiny_config(tmp_path, train_cfg__time_budget=0.9, train_cfg__seconds_per_iter=7)
    assert train(again, 'auto').train_cfg.max_iters == 9
    second = read_checkpoint(tmp_path / 'iter_9.pth')['message_hub']['runtime_info']
    assert second['seconds_per_iter'] == 0.1


def test_a_run_without_a_budget_cannot_be_resumed_with_one(
    trained: Path, tmp_path: Path, not_timed: None
) -> None:
    cfg = tiny_config(tmp_path, resume=str(trained / 'run/iter_3.pth'), **BUDGET)
    with pytest.raises(UserError, match=r'iter_3.pth is of a training without one; write None'):
        fit_time_budget(cfg)


def test_without_a_budget_nothing_changes(not_timed: None) -> None:
    cfg = load_config(B0)
    before = cfg.to_dict()
    fit_time_budget(cfg)
    assert cfg.to_dict() == before


def test_schedules_end_with_the_training() -> None:
    cfg = load_config(B0, {'param_scheduler.1.end': 40000})
    ramp = dict(type='LinearWarmup', end=1500, value=dict(type='CosineDecay', value=1.0, end=40000))
    late = dict(type='LinearDecay', value=1.0, begin=20000, end=40000)
    cfg.model.kd_losses = dict(
        a=dict(type='KLDivergenceLoss', loss_weight=ramp, temperature=late),
        b=dict(type='KLDivergenceLoss', loss_weight=dict(type='Stop', value=1.0, at_iter=300)),
    )
    set_length(cfg, 1000)
    assert cfg.train_cfg.max_iters == 1000
    # The runner ends what has no end with the training.
    assert [s.get('end') for s in cfg.param_scheduler] == [1500, None]
    weight, temperature = (cfg.model.kd_losses.a[key] for key in ('loss_weight', 'temperature'))
    assert (weight.end, weight['value'].end, 'begin' in weight['value']) == (1500, 1000, False)
    assert (temperature.begin, temperature.end) == (500, 1000)
    assert cfg.model.kd_losses.b.loss_weight.at_iter == 300


@pytest.mark.parametrize(
    'weight',
    [
        dict(type='LinearWarmup', value=1.0, begin=150, end=300),
        dict(type='LinearDecay', value=1.0, end=300),
        dict(type='CosineDecay', value=1.0, begin=30, end=300),
    ],
)
def test_iterations_are_timed_with_every_loss(weight: dict) -> None:
    cfg = load_config(B0, {'train_cfg.max_iters': 300, 'train_cfg.time_budget': 60})
    cfg.model.kd_losses = dict(a=dict(type='KLDivergenceLoss', loss_weight=weight))
    timed = scheduled(_short(cfg).model.kd_losses.a.loss_weight)
    assert all(timed.at(i) > 0 for i in range(10, 5000))


def test_a_single_scheduler_ends_with_the_training() -> None:
    cfg = Config(dict(model={}, train_cfg=dict(max_iters=9), param_scheduler=dict(end=9)))
    set_length(cfg, 4)
    assert cfg.param_scheduler.end == 4
    other = Config(dict(model={}, train_cfg={}, param_scheduler=dict(end=9)))
    set_length(other, 4)
    assert (other.train_cfg.max_iters, other.param_scheduler.end) == (4, 9)


def test_the_shortest_training_is_an_iteration(not_timed: None) -> None:
    cfg = load_config(B0, {'train_cfg.time_budget': 0.1, 'train_cfg.seconds_per_iter': 5})
    fit_time_budget(cfg)
    assert cfg.train_cfg.max_iters == 1


@pytest.mark.parametrize('value', [0, -1.5, 'ten', float('inf'), float('nan'), True, [600]])
@pytest.mark.parametrize('key', ['time_budget', 'seconds_per_iter'])
def test_nonsense_is_named(value: object, key: str) -> None:
    with pytest.raises(UserError, match=rf'train_cfg.{key}: .* is not a number above 0$'):
        load_config(B0, {f'train_cfg.{key}': value})


def test_a_loop_without_a_budget_says_so() -> None:
    with pytest.raises(UserError, match=r'time_budget: IterBasedTrainLoop has no such key'):
        load_config(B0, {'train_cfg.type': 'IterBasedTrainLoop', 'train_cfg.time_budget': 60})


def test_several_processes_are_not_timed() -> None:
    cfg = load_config(B0, {'train_cfg.time_budget': 60})
    cfg.launcher = 'pytorch'
    with pytest.raises(UserError, match='several processes cannot be timed; write None'):
        fit_time_budget(cfg)


def test_a_training_that_fails_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_budget, 'run_training', lambda task: 'out of memory')
    with pytest.raises(UserError, match=r'the training could not be timed: out of memory$'):
        fit_time_budget(tiny_config(tmp_path, train_cfg__time_budget=60.0))


def test_a_budget_that_is_not_fitted_does_not_train_to_max_iters(tmp_path: Path) -> None:
    runner = build_runner(tiny_config(tmp_path, train_cfg__time_budget=60.0))
    with pytest.raises(UserError, match=r'fit_time_budget\(cfg\), as tools/train.py does'):
        runner.train()


def test_the_tool_and_a_study_fit_the_budget(tmp_path: Path) -> None:
    file = tmp_path / 'config.py'
    tiny_config(tmp_path / 'run').dump(file)
    options = ['train_cfg.time_budget=0.4', 'train_cfg.seconds_per_iter=0.1']
    assert run('train.py', file, '--cfg-options', *options) == 0
    assert read_run(tmp_path / 'run').max_iters == 4
    options = {'train_cfg.time_budget': 0.2, 'train_cfg.seconds_per_iter': 0.1}
    task = Task(str(file), options, str(tmp_path / 'study'))
    assert run_training(task) is None
    assert (tmp_path / 'study' / 'iter_2.pth').is_file()


def test_a_study_is_planned_without_knowing_the_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    options = {'train_cfg.time_budget': 600}
    file = tmp_path / 'study.py'
    file.write_text(f'study = dict(runs=dict(a=dict(config={B0!r}, options={options!r})))')
    study = load_study(str(file))
    (planned,) = plan = plan_study(study)
    assert planned.max_iters is None
    assert planned.settings['train_cfg.time_budget'] == 600
    monkeypatch.setattr(commands, 'measure', not_to_be_called)
    queue = RunQueue(study, plan, open_storage(None, tmp_path))
    describe_plan(queue, tmp_path / 'out')
    printed = capsys.readouterr().out
    assert '0/?' in printed
    assert 'about 0:10:00 of training left' in printed


def test_a_dry_run_times_each_kind_of_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    kd = str(ROOT / 'local_configs/toy/segformer.b0.toy.kd.py')
    file = tmp_path / 'study.py'
    file.write_text(
        f"""study = dict(options={{'train_cfg.max_iters': 100}}, seeds=[0, 1], runs=dict(
            teacher=dict(config={TOY!r}, seeds=[0]),
            student=dict(config={kd!r}, needs={{'model.teacher.checkpoint': 'teacher'}})))"""
    )
    timed: list[str] = []

    def measure(cfg: Config, what: str) -> float:
        timed.append(what)
        if teacher := cfg.model.get('teacher'):
            # The teacher is not trained yet.
            assert Path(teacher.checkpoint).is_file()
        return 3.0

    monkeypatch.setattr(commands, 'measure', measure)
    study = load_study(str(file))
    describe_plan(RunQueue(study, plan_study(study), InMemoryStorage()), tmp_path / 'out')
    assert timed == ['teacher seed 0', 'student seed 0']
    assert 'about 0:15:00 of training left' in capsys.readouterr().out


def test_a_dry_run_times_each_batch_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'study.py'
    keys = {'train_dataloader.batch_size': [1, 2], 'optim_wrapper.optimizer.lr': [0.1, 0.2]}
    grid = dict(run='a', space=keys)
    file.write_text(f'study = dict(runs=dict(a=dict(config={TOY!r})), grid={grid})')
    timed: list[int] = []

    def measure(cfg: Config, what: str) -> float:
        timed.append(cfg.train_dataloader.batch_size)
        return 1.0

    monkeypatch.setattr(commands, 'measure', measure)
    study = load_study(str(file))
    describe_plan(RunQueue(study, plan_study(study), InMemoryStorage()), tmp_path / 'out')
    assert timed == [1, 2]
    assert not (tmp_path / 'out').exists()


def test_the_pace_is_that_of_the_median_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks of two iterations: the first takes 12 s, another one 200 s. What is before iteration
    # 4, where the first epoch ends, does not count.
    times = iter([0.0, 0.0, 0.0, 0.0, 12.0, 212.0, 222.0, 230.0, 240.0])
    monkeypatch.setattr(time_hooks, 'now', lambda: next(times))
    hook = dict(type='PaceHook', skip=2, blocks=5, seconds=0.0)
    cfg = tiny_config(tmp_path, train_cfg__max_iters=1000, custom_hooks=[hook])
    cfg.update(dict.fromkeys(['val_dataloader', 'val_cfg', 'val_evaluator']))
    cfg.default_hooks.checkpoint = cfg.default_hooks.prediction_grid = None
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter == 4 + 5 * 2
    assert read_curves(tmp_path)['seconds_per_iter'] == {runner.iter: 5.0}
