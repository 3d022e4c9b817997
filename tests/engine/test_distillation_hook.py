"""What distillation needs of the loop: averages, shares, hooks that are left out."""

import json
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from mmseg.registry import MODELS

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError


def config(work_dir: Path, teacher: dict, losses: dict, **options: object):
    cfg = tiny_config(work_dir, **options)
    cfg.model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses)
    return cfg


AVERAGE = dict(type='EMATeacher', momentum=0.9)
KL = dict(kl_loss=KD_LOSSES['kl_loss'])


def test_an_average_begins_as_the_student_that_was_loaded(tmp_path: Path, teacher: dict) -> None:
    cfg = config(tmp_path / 'run', AVERAGE, KL, load_from=teacher['checkpoint'])
    runner = build_runner(cfg)
    seen = {}

    def look(self: object, runner: object, *args: object, **kwargs: object) -> None:
        if not seen:
            average = runner.teachers['teacher'].segmentor.state_dict()
            student = runner.bare_model.state_dict()
            seen.update({key: torch.equal(average[key], student[key]) for key in student})
            loaded = read_checkpoint(teacher['checkpoint'])['state_dict']
            seen['loaded'] = torch.equal(
                average['decode_head.linear_pred.weight'], loaded['decode_head.linear_pred.weight']
            )

    hook = next(h for h in runner.hooks if type(h).__name__ == 'TeacherRecordHook')
    hook.before_train_iter = look.__get__(hook)
    runner.train()
    assert len(seen) > 10
    assert all(seen.values())
    assert 'average of the student, momentum 0.9' in next(
        (tmp_path / 'run').glob('*/*.log')
    ).read_text(encoding='utf-8')


@pytest.mark.parametrize(('every', 'updates'), [(1, 6), (3, 2)])
def test_an_average_follows_the_steps_of_the_optimizer(
    tmp_path: Path, every: int, updates: int
) -> None:
    options = dict(optim_wrapper__accumulative_counts=every)
    runner = build_runner(config(tmp_path, AVERAGE, KL, **options))
    runner.train()
    assert runner.teachers['teacher'].updates == updates
    state = read_checkpoint(tmp_path / 'iter_6.pth')['distillation']['teachers']['teacher']
    assert state['updates'] == updates


def test_none_leaves_a_hook_out(tmp_path: Path, teacher: dict) -> None:
    cfg = config(tmp_path, teacher, KL)
    cfg.default_hooks.gradient_report = None
    cfg.default_hooks.prediction_grid = None
    build_runner(cfg).train()
    assert (tmp_path / 'iter_6.pth').is_file()
    assert not (tmp_path / 'gradients.jsonl').exists()
    assert not (tmp_path / 'predictions.png').exists()


def test_what_is_not_computed_is_not_logged(tmp_path: Path, teacher: dict) -> None:
    weight = dict(type='Stop', at_iter=3, value=dict(type='LinearWarmup', value=1.0, end=2))
    build_runner(config(tmp_path, teacher, dict(kl_loss=KL['kl_loss'] | dict(loss_weight=weight)))
                 ).train()  # fmt: skip
    (file,) = tmp_path.glob('*/vis_data/scalars.json')
    rows = [row for row in map(json.loads, file.read_text().splitlines()) if 'kl_loss' in row]
    assert [row['step'] for row in rows if 'kl_raw' in row] == [2, 3]
    assert 'NaN' not in file.read_text()


def test_a_share_of_nothing_is_an_error(tmp_path: Path, teacher: dict) -> None:
    share = dict(type='GradientShare', share=0.1, until=4, interval=1)
    cfg = config(tmp_path, teacher, dict(kl_loss=KL['kl_loss'] | dict(loss_weight=share)))
    cfg.model.backbone.drop_path_rate = 0.0
    runner = build_runner(cfg)
    runner.model.backbone.requires_grad_(False)
    with pytest.raises(UserError, match='kl_loss: GradientShare has found no weight'):
        runner.train()
    assert runner.iter == 3


def test_a_share_that_begins_after_the_training_is_an_error(tmp_path: Path, teacher: dict) -> None:
    share = dict(type='GradientShare', share=0.1, begin=6, until=9)
    cfg = config(tmp_path, teacher, dict(kl_loss=KL['kl_loss'] | dict(loss_weight=share)))
    with pytest.raises(UserError, match=r'GradientShare\(begin=6\) measures nothing in 6 iter'):
        build_runner(cfg).train()
    assert not list(tmp_path.glob('iter_*.pth'))


def test_a_temperature_that_ends_at_0_is_an_error_at_the_start(
    tmp_path: Path, teacher: dict
) -> None:
    falls = dict(type='LinearDecay', value=4.0, end=5)
    cfg = config(tmp_path, teacher, dict(kl_loss=KL['kl_loss'] | dict(temperature=falls)))
    with pytest.raises(UserError, match='temperature is 0 in iteration 5'):
        build_runner(cfg).train()
    assert not list(tmp_path.glob('iter_*.pth'))


def test_activation_checkpointing_has_no_report_but_trains(tmp_path: Path, teacher: dict) -> None:
    options = dict(activation_checkpointing=['backbone.block2.0'])
    with pytest.warns(UserWarning, match='no gradient report'):
        build_runner(config(tmp_path / 'plain', teacher, KL, **options)).train()
    assert (tmp_path / 'plain' / 'iter_6.pth').is_file()
    share = dict(kl_loss=KL['kl_loss'] | dict(loss_weight=dict(type='GradientShare', share=0.1)))
    with pytest.raises(UserError, match='GradientShare finds no weight'):
        build_runner(config(tmp_path / 'share', teacher, share, **options)).train()


@pytest.mark.slow
def test_an_older_checkpoint_goes_on_with_a_schedule(tmp_path: Path, teacher: dict) -> None:
    build_runner(config(tmp_path, teacher, KL)).train()
    # Checkpoints of earlier versions have no such entry.
    checkpoint = read_checkpoint(tmp_path / 'iter_3.pth')
    del checkpoint['distillation']
    torch.save(checkpoint, tmp_path / 'iter_3.pth')
    decay = KL['kl_loss'] | dict(loss_weight=dict(type='CosineDecay', value=1.0, end=6))
    options = dict(load_from=str(tmp_path / 'iter_3.pth'), resume=True)
    build_runner(config(tmp_path / 'again', teacher, dict(kl_loss=decay), **options)).train()
    assert (tmp_path / 'again' / 'iter_6.pth').is_file()


@pytest.mark.parametrize(
    ('entry', 'value'),
    [
        (None, None),
        (None, []),
        (None, {}),
        ('losses', 5),
        ('shares', 5),
        ('shares', {'kl_loss': {'weight': 'x', 'measurements': 1}}),
        ('shares', {'kl_loss': {'weight': None, 'measurements': 1}}),
    ],
)
def test_a_bent_state_is_refused(teacher: dict, entry: str | None, value: object) -> None:
    share = dict(type='GradientShare', share=0.1)
    losses = dict(kl_loss=KL['kl_loss'] | dict(loss_weight=share))
    model = MODELS.build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))
    state = value if entry is None else model.distillation_state() | {entry: value}
    with pytest.raises(UserError, match=r'the checkpoint was trained with other model\.kd_losses'):
        model.load_distillation_state(state)
