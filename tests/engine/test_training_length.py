"""Schedules follow the length of the training, and those that do not are reported."""

import json
import re
from pathlib import Path

import pytest
from conftest import KD_LOSSES, ROOT, tiny_config, tiny_model
from mmengine.config import Config

from mmseg_kd.config import choose_start, load_config
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.runner import KDRunner
from mmseg_kd.engine.training_length import follow_length, misfits
from mmseg_kd.errors import UserError

B0 = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py')
WARM_UP = dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500)
POLY = dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500)


def spans(schedulers: list) -> list[tuple]:
    return [(s['begin'], s['end']) for s in schedulers]


@pytest.mark.parametrize(
    ('length', 'expected'),
    [
        (40000, [(0, 1500), (1500, 40000)]),
        (60000, [(0, 1500), (1500, 60000)]),
        (15000, [(0, 1500), (1500, 15000)]),
        (14000, [(0, 1400), (1400, 14000)]),
        (100, [(0, 10), (10, 100)]),
        (10, [(0, 2), (2, 10)]),
        (9, [(0, 2), (2, 9)]),
        (1, [(0, 2), (2, 3)]),
        (0, [(0, 2), (2, 3)]),
    ],
)
def test_the_shipped_schedule_by_length(length: int, expected: list) -> None:
    cfg = load_config(B0, {'train_cfg.max_iters': length})
    fitted = follow_length(cfg.param_scheduler, length)
    assert spans(fitted) == expected


@pytest.mark.parametrize(
    'schedulers',
    [
        [WARM_UP, dict(POLY, end=40000)],
        [dict(type='ConstantLR', by_epoch=False, begin=0, end=1500, factor=1.0), dict(POLY, end=9)],
        dict(type='PolyLR', by_epoch=False, end=4),
    ],
)
def test_what_says_where_it_ends_stays(schedulers: object) -> None:
    assert follow_length(schedulers, 100) == schedulers


def test_the_learning_rate_warms_up_and_ends_at_0(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train_cfg__max_iters=20, param_scheduler=[WARM_UP, POLY])
    build_runner(cfg).train()
    text = next(tmp_path.glob('*/vis_data/scalars.json')).read_text(encoding='utf-8')
    rates = [row['lr'] for row in map(json.loads, text.splitlines()) if 'lr' in row]
    lr = cfg.optim_wrapper.optimizer.lr
    # Two iterations of warm-up, then 17 equal steps down to 0 in the last iteration.
    expected = [lr * (1 - i / 17) for i in range(18)]
    assert len(rates) == 20
    assert rates[0] == pytest.approx(1e-6 * lr)
    assert rates[2:] == pytest.approx(expected, rel=1e-3, abs=1e-9)
    log = next(tmp_path.glob('*/*.log')).read_text(encoding='utf-8')
    assert 'the warm-up takes 2 of 20 iterations in place of 1500' in log
    assert 'param_scheduler ends' not in log


def ready(cfg: Config) -> KDRunner:
    """A runner as it is when training starts."""
    runner = build_runner(cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    return runner


@pytest.mark.parametrize(
    ('schedulers', 'message'),
    [
        ([WARM_UP, dict(POLY, end=40000)], 'ends at iteration 40000, the training at 20; leave'),
        ([dict(type='PolyLR', by_epoch=False, end=4)], 'ends at iteration 4, the training at 20; '),
        ([WARM_UP, POLY], None),
        ([dict(WARM_UP, end=4)], None),
        ([dict(type='MultiStepLR', by_epoch=False, milestones=[5, 9])], None),
        ([dict(type='PolyLR', end=20)], 'PolyLR changes its value at the end of an epoch, and'),
        ([dict(type='LrUpdater', policy='poly')], 'write by_epoch=False'),
        ([dict(type='LrUpdater', policy='poly', by_epoch=False)], None),
        ([dict(type='ReduceOnPlateauLR', monitor='mIoU', rule='greater')], None),
    ],
)
def test_a_learning_rate_that_ends_elsewhere(
    tmp_path: Path, schedulers: list, message: str | None
) -> None:
    runner = ready(tiny_config(tmp_path, train_cfg__max_iters=20, param_scheduler=schedulers))
    assert [message in problem for problem in misfits(runner)] == [True] * bool(message)


@pytest.mark.parametrize('length', [3, 12])
def test_a_short_training_reaches_its_rate(tmp_path: Path, length: int) -> None:
    cfg = tiny_config(tmp_path, train_cfg__max_iters=length)
    rate = cfg.optim_wrapper.optimizer.lr
    cfg.param_scheduler = [WARM_UP, POLY]
    runner = build_runner(cfg)
    runner.train()
    rates = runner.message_hub.get_scalar('train/base_lr').data[0]
    assert max(rates) == rates[1] == pytest.approx(rate)


def test_a_training_of_one_iteration_fits(tmp_path: Path) -> None:
    # The warm-up fills it, so the scheduler after it ends later.
    cfg = tiny_config(tmp_path, train_cfg__max_iters=1, param_scheduler=[WARM_UP, POLY])
    assert not list(misfits(ready(cfg)))


def test_a_resumed_run_keeps_its_schedule_and_says_so(tmp_path: Path) -> None:
    options = dict(param_scheduler=[WARM_UP, POLY], default_hooks__gradient_report=None)
    build_runner(tiny_config(tmp_path, **options)).train()
    longer = tiny_config(tmp_path, train_cfg__max_iters=9, **options)
    choose_start(longer, 'auto')
    build_runner(longer).train()
    log = max(tmp_path.glob('*/*.log')).read_text(encoding='utf-8')
    assert 'param_scheduler ends at iteration 6, the training at 9' in log
    assert 'a resumed run keeps the schedule of its checkpoint' in log


def test_schedules_of_losses(tmp_path: Path, teacher: dict) -> None:
    inner = dict(type='CosineDecay', value=1.0, end=30)
    schedules = {
        'a_loss': (dict(type='LinearWarmup', value=1.0, end=1500), 1500),
        'b_loss': (dict(type='LinearDecay', value=1.0, end=40), 40),
        'c_loss': (dict(type='LinearWarmup', end=5, value=inner), 30),
        'd_loss': (dict(type='LinearWarmup', value=1.0, end=5), None),
        'e_loss': (dict(type='CosineDecay', value=1.0, end=20), None),
        'f_loss': (1.0, None),
    }
    losses = {
        name: KD_LOSSES['kl_loss'] | dict(loss_weight=schedule)
        for name, (schedule, _) in schedules.items()
    }
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses)
    cfg = tiny_config(
        tmp_path, model=model, train_cfg__max_iters=20, param_scheduler=[dict(POLY, begin=0)]
    )
    assert list(misfits(ready(cfg))) == [
        f'model.kd_losses.{name}.loss_weight: the schedule ends at {end}, the training at 20'
        for name, (_, end) in schedules.items()
        if end
    ]


def test_a_teacher_of_another_length_is_named(trained: Path) -> None:
    config, folder = str(trained / 'config.py'), trained / 'run'
    latest = re.escape(str(folder / 'iter_6.pth'))
    with pytest.raises(UserError, match=f'not exist: write model.teacher.checkpoint={latest}$'):
        Teacher(config, str(folder / 'iter_40000.pth'))


def test_epochs_with_a_sampler_that_ends(tmp_path: Path) -> None:
    loop = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1, _delete_=True)
    cfg = tiny_config(tmp_path, train_cfg=loop, param_scheduler=[WARM_UP, POLY])
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    runner = build_runner(cfg)
    runner.train()
    # Two epochs of four batches; the schedule ends with them.
    assert (runner.epoch, runner.iter) == (2, 8)
    assert [scheduler.end for scheduler in runner.param_schedulers] == [2, 8]


def test_a_schedule_by_epoch_fits_a_training_by_epoch(tmp_path: Path) -> None:
    loop = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1, _delete_=True)
    schedule = dict(type='MultiStepLR', milestones=[1])
    cfg = tiny_config(tmp_path, train_cfg=loop, param_scheduler=[schedule])
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    assert not list(misfits(ready(cfg)))
