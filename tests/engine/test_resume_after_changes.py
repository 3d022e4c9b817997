"""A run is resumed after the clock, the metric or the checkpoint to start from has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import tiny_config
from killing import Kill, KillAt

from mmseg_kd.config import choose_start
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.runner import KDRunner
from mmseg_kd.records.run_record import read_run


def train(cfg: object, resume: str | None = None, kill: KillAt | None = None) -> KDRunner:
    choose_start(cfg, resume)
    runner = build_runner(cfg)
    if kill:
        runner.register_hook(kill, priority='VERY_HIGH')
        with pytest.raises(Kill):
            runner.train()
    else:
        runner.train()
    return runner


def test_the_clock_has_gone_back(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_cfg__max_iters=3))
    (start,) = (file.parent for file in tmp_path.glob('*/vis_data'))
    start.rename(tmp_path / '29990101_000000')
    second = train(tiny_config(tmp_path), resume='auto')
    assert second.timestamp == '29990101_000000_'
    run = read_run(tmp_path)
    assert [row['iteration'] for row in run.evaluations] == [3, 6]
    assert run.training['step'].tolist() == [1, 2, 3, 4, 5, 6]
    assert run.state == 'done'


def test_another_metric_chooses_the_best_checkpoint(tmp_path: Path) -> None:
    train(
        tiny_config(tmp_path, train_cfg__max_iters=3, default_hooks__checkpoint__save_best='aAcc')
    )
    assert list(tmp_path.glob('best_aAcc_*.pth'))
    train(tiny_config(tmp_path, default_hooks__checkpoint__save_best='mIoU'), resume='auto')
    assert len(list(tmp_path.glob('best_mIoU_*.pth'))) == 1
    assert list(tmp_path.glob('best_aAcc_*.pth'))


def test_the_best_checkpoint_of_a_metric_with_a_prefix_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = dict(
        val_evaluator=dict(type='IoUMetric', prefix='val', _delete_=True),
        default_hooks__checkpoint__save_best='val/mIoU',
    )
    train(tiny_config(tmp_path, train_cfg__max_iters=3, **options))
    train(tiny_config(tmp_path, **options), resume='auto')
    assert len(list(tmp_path.glob('best_val_mIoU_*.pth'))) == 1
    log = ''.join(file.read_text(encoding='utf-8') for file in tmp_path.glob('*/*.log'))
    assert 'is not in' not in log


def test_the_checkpoint_that_is_resumed_and_evaluated_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_config(tmp_path), kill=KillAt('before_val_iter', 3))
    monkeypatch.chdir(tmp_path)
    train(tiny_config(tmp_path), resume='iter_3.pth')
    assert {file.name for file in tmp_path.glob('iter_*.pth')} == {'iter_3.pth', 'iter_6.pth'}


def test_a_run_that_was_killed_before_its_first_checkpoint_names_none(tmp_path: Path) -> None:
    train(tiny_config(tmp_path), kill=KillAt('before_train_iter', 1))
    assert not (tmp_path / 'last_checkpoint').exists()


def test_a_run_that_went_back_does_not_return_to_the_later_checkpoint(tmp_path: Path) -> None:
    train(tiny_config(tmp_path))
    older = tmp_path / 'iter_3.pth'
    train(tiny_config(tmp_path), resume=str(older), kill=KillAt('before_train_iter', 4))
    again = tiny_config(tmp_path)
    choose_start(again, 'auto')
    assert Path(again.load_from or again.resume) == older


@pytest.mark.parametrize(('last', 'interval', 'begin'), [(3, 3, 1), (4, 2, 1), (3, 3, 4)])
def test_only_an_evaluation_that_is_missing_is_made_up_for(
    tmp_path: Path, last: int, interval: int, begin: int
) -> None:
    # The first was made, and the others are not due.
    options = dict(default_hooks__checkpoint__interval=interval, train_cfg__val_begin=begin)
    train(tiny_config(tmp_path, **options), kill=KillAt('before_train_iter', last))
    assert (tmp_path / f'iter_{last}.pth').is_file()
    train(tiny_config(tmp_path, **options), resume='auto')
    log = ''.join(file.read_text(encoding='utf-8') for file in tmp_path.glob('*/*.log'))
    assert 'from which the run continues' not in log


def test_the_last_evaluation_of_a_training_by_epoch_is_made_up_for(tmp_path: Path) -> None:
    def config() -> object:
        cfg = tiny_config(tmp_path, default_hooks__prediction_grid=None)
        cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
        cfg.param_scheduler = [dict(type='PolyLR', by_epoch=False, begin=0, end=4)]
        cfg.default_hooks.checkpoint.update(by_epoch=True, interval=1)
        return cfg

    train(config(), kill=KillAt('before_val', 4))
    assert (tmp_path / 'epoch_1.pth').is_file()
    weights = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    runner = train(config(), resume='auto')
    assert [row['iteration'] for row in read_run(tmp_path).evaluations] == [4]
    for name, value in weights.items():
        assert torch.equal(runner.bare_model.state_dict()[name], value), name
