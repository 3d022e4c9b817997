"""Shares, schedules, adapters and averaged teachers in a training, and in one that is resumed."""

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from mmseg.registry import MODELS

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config import choose_start
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError


def rich_model(teacher: dict) -> dict:
    """Everything that a resumed run has to go on with."""
    return tiny_model(
        type='KDEncoderDecoder',
        teacher=dict(big=teacher, mean=dict(type='EMATeacher', momentum=0.9)),
        kd_losses=dict(
            kl_loss=dict(
                type='KLDivergenceLoss',
                teacher='big',
                temperature=dict(type='LinearWarmup', value=4.0, start=0.25, end=5),
                loss_weight=dict(type='GradientShare', share=0.3, interval=2, until=5),
            ),
            at_loss=dict(
                type='AttentionTransferLoss',
                teacher='mean',
                loss_weight=dict(type='CosineDecay', value=2.0, begin=1, end=5),
            ),
            fit=dict(type='FitNetLoss', teacher='big', student_channels=32, teacher_channels=32),
        ),
    )


def train(cfg: object, resume: str | None = None, stop: int | None = None) -> object:
    choose_start(cfg, resume)
    runner = build_runner(cfg)
    if stop:
        runner.train_loop._max_iters = stop
    runner.train()
    return runner


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_shares_schedules_adapters_and_averages(
    tmp_path: Path, teacher: dict
) -> None:
    config = dict(model=rich_model(teacher))
    whole = train(tiny_config(tmp_path / 'whole', **config))
    train(tiny_config(tmp_path / 'cut', **config), stop=3)
    cut = train(tiny_config(tmp_path / 'cut', **config), resume='auto')
    assert whole.iter == cut.iter == 6
    for name, value in whole.bare_model.state_dict().items():
        assert torch.equal(cut.bare_model.state_dict()[name], value), name
    ours, theirs = cut.bare_model.distillation_state(), whole.bare_model.distillation_state()
    assert ours['shares'] == theirs['shares']
    assert theirs['shares']['kl_loss']['measurements'] == 3
    for part in ('losses', 'teachers'):
        mine, reference = _flat(ours[part]), _flat(theirs[part])
        assert reference
        for name, value in reference.items():
            assert torch.equal(torch.as_tensor(mine[name]), torch.as_tensor(value)), name


@pytest.mark.parametrize('change', [{}, dict(at_loss=None), dict(sp_loss=dict(loss_weight=5.0))])
def test_other_settings_of_losses_are_told(tmp_path: Path, teacher: dict, change: dict) -> None:
    share = dict(type='GradientShare', share=0.3, interval=1, until=2)
    losses = KD_LOSSES | dict(kl_loss=dict(type='KLDivergenceLoss', loss_weight=share))

    def model(changed: dict) -> dict:
        kept = {k: v and losses[k] | v for k, v in changed.items()}
        return tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses | kept)

    train(tiny_config(tmp_path, model=model({})), stop=3)
    train(tiny_config(tmp_path, model=model(change)), resume='auto')
    log = max(tmp_path.glob('*/*.log')).read_text(encoding='utf-8')
    assert ('model.kd_losses was changed' in log) == bool(change)


def _flat(tree: dict, prefix: str = '') -> dict:
    flat = {}
    for name, value in tree.items():
        flat |= (
            _flat(value, f'{prefix}{name}.') if isinstance(value, dict) else {prefix + name: value}
        )
    return flat


def test_adapters_train_but_are_not_in_the_students_weights(tmp_path: Path, teacher: dict) -> None:
    runner = train(tiny_config(tmp_path, model=rich_model(teacher)))
    plain = MODELS.build(tiny_model())
    written = read_checkpoint(str(tmp_path / 'iter_6.pth'))
    plain.load_state_dict(written['state_dict'], strict=True)
    runner.bare_model.load_state_dict(written['state_dict'], strict=True)
    best = read_checkpoint(str(next(tmp_path.glob('best_*.pth'))))
    assert 'distillation' not in best
    fresh = MODELS.build(rich_model(teacher)).kd_losses.state_dict()
    trained = written['distillation']['losses']
    assert trained.keys() == fresh.keys()
    assert any(not torch.equal(trained[name], value) for name, value in fresh.items())


def test_other_losses_cannot_be_resumed(tmp_path: Path, teacher: dict) -> None:
    train(tiny_config(tmp_path, model=rich_model(teacher)), stop=3)
    model = rich_model(teacher)
    model['kd_losses']['fit']['stages'] = 'stage3'
    model['kd_losses']['fit'].update(student_channels=16, teacher_channels=16)
    with pytest.raises(UserError, match='trained with other'):
        train(tiny_config(tmp_path, model=model), resume='auto')
    model = rich_model(teacher)
    model['kd_losses']['kl_loss']['loss_weight']['share'] = 0.35
    with pytest.raises(UserError, match=r'share=.* in place of 0\.35'):
        train(tiny_config(tmp_path, model=model), resume='auto')


def test_the_hook_cannot_be_forgotten(tmp_path: Path, teacher: dict) -> None:
    cfg = tiny_config(tmp_path / 'without', model=rich_model(teacher))
    cfg.default_hooks.pop('distillation')
    states = [
        train(each).bare_model.distillation_state()
        for each in (cfg, tiny_config(tmp_path / 'with', model=rich_model(teacher)))
    ]
    without, expected = map(_flat, states)
    assert without.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(without[name]), torch.as_tensor(value)), name
