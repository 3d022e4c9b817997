"""A loss that is no longer a number stops the training; what else is not, does not."""

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from mmengine.config import Config
from mmengine.hooks import Hook

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config.values import wrong_values
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError


class Poison(Hook):
    """Write NaN into the weights before an iteration, counted from 1."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: object, *args: object, **kwargs: object) -> None:
        if runner.iter + 1 == self.iteration:
            with torch.no_grad():
                next(runner.bare_model.decode_head.parameters()).fill_(float('nan'))


class Log(Hook):
    """Change what a training step returns before it is logged."""

    priority = 'HIGHEST'

    def __init__(self, change: object) -> None:
        self.change = change

    def after_train_iter(
        self, runner: object, batch_idx: int, data_batch: object, outputs: dict
    ) -> None:
        self.change(runner, outputs)


def train(folder: Path, *hooks: Hook, **options: object) -> None:
    cfg = tiny_config(folder, default_hooks__prediction_grid=None, **options)
    runner = build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()


def message(folder: Path, *hooks: Hook, **options: object) -> str:
    with pytest.raises(UserError) as error:
        train(folder, *hooks, **options)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_the_loss_stays_nan(tmp_path: Path) -> None:
    text = message(tmp_path, Poison(4), default_hooks__non_finite_loss__max_consecutive=2)
    assert text.startswith(
        'iteration 5: the loss has not been finite since iteration 4 (2 iterations); '
        'there the losses were loss=nan, decode.loss_ce=nan; the last good checkpoint is '
        f'{tmp_path / "iter_3.pth"}; lower optim_wrapper.optimizer.lr'
    )
    assert text.endswith('continue with --resume, which keeps the rate')
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['best_mIoU_iter_3.pth', 'iter_3.pth']


def test_weights_that_are_nan_are_not_saved(tmp_path: Path) -> None:
    text = message(tmp_path, Poison(3))
    assert 'is not finite, so no checkpoint was written; there the losses were loss=nan' in text
    assert 'no checkpoint was saved before' in text
    assert text.endswith('start again')
    assert not list(tmp_path.glob('*.pth'))


def test_the_loss_that_began_it_is_named(tmp_path: Path, teacher: dict) -> None:
    losses = {**KD_LOSSES, 'kl_loss': {**KD_LOSSES['kl_loss'], 'loss_weight': 1e39}}
    text = message(
        tmp_path,
        model=tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses),
        default_hooks__non_finite_loss__max_consecutive=1,
        default_hooks__gradient_report=None,
        default_hooks__teacher_record=None,
    )
    assert 'kl_loss=inf' in text
    assert 'lower optim_wrapper.optimizer.lr or model.kd_losses.kl_loss.loss_weight' in text
    assert 'sp_loss.loss_weight' not in text


def test_switched_off_it_trains_on(tmp_path: Path) -> None:
    train(tmp_path, Poison(3), default_hooks__non_finite_loss=None)
    weights = read_checkpoint(tmp_path / 'iter_6.pth')['state_dict'].values()
    assert any(weight.isnan().any() for weight in weights)


def test_a_skipped_step_is_not_nan_and_no_iteration_waits(tmp_path: Path) -> None:
    pending = []

    def skip(runner: object, outputs: dict) -> None:
        # As AmpOptimWrapper logs a step that it skips.
        outputs['grad_norm'] = torch.tensor(float('inf'))
        log = runner.message_hub.log_scalars.get('train/loss')
        pending.append(len(getattr(log, 'pending', ())))

    train(
        tmp_path,
        Log(skip),
        default_hooks__logger__interval=50,
        default_hooks__non_finite_loss__max_consecutive=1,
    )
    # The first makes the log; then they wait, until the checkpoint of iteration 3 and the line
    # at the end of the data, after 4.
    assert pending == [0, 0, 1, 0, 0, 1]


def test_one_bad_batch_does_not_stop(tmp_path: Path) -> None:
    def bad(runner: object, outputs: dict) -> None:
        if runner.iter in (1, 3):
            outputs['loss'] = outputs['loss'] * float('nan')

    train(tmp_path, Log(bad), default_hooks__non_finite_loss__max_consecutive=2)
    assert (tmp_path / 'iter_6.pth').is_file()


@pytest.mark.parametrize('value', [0, -1, 'x', 1.5, True])
def test_a_wrong_number_is_refused(value: object) -> None:
    cfg = Config(dict(default_hooks=dict(non_finite_loss=dict(max_consecutive=value))))
    problem = f'{value!r} is not a whole number from 1 up'
    assert list(wrong_values(cfg)) == [('default_hooks.non_finite_loss.max_consecutive', problem)]
