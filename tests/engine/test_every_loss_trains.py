"""Every registered loss trains: together, with shares, reports, two teachers, and a resume."""

import json
from pathlib import Path

import torch
from conftest import tiny_config, tiny_model

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.distillation import losses
from mmseg_kd.engine import build_runner

# Where the defaults do not fit the tiny models: 16 channels in the fused head, 12 classes.
FUSED = dict(stages='decode_head.linear_fuse', student_channels=16, teacher_channels=16)
SETTINGS = {
    'FitNetLoss': FUSED,
    'MaskedGenerativeLoss': FUSED,
    'AffinityContrastLoss': FUSED,
}
FLOWS_OF_FEATURES = dict(type='HodgeFlowLoss', **FUSED, dims=4)
# A share each, which together leave most of the gradient to the labels.
SHARE = dict(type='GradientShare', share=0.01, until=2, interval=1)


def every_loss() -> dict[str, dict]:
    found = {name: dict(type=name, **SETTINGS.get(name, {})) for name in losses.__all__}
    found['flows_of_features'] = FLOWS_OF_FEATURES
    return {name: dict(loss, teacher='frozen', loss_weight=SHARE) for name, loss in found.items()}


def config(work_dir: Path, teacher: dict, **options: object):
    cfg = tiny_config(work_dir, **options)
    kd_losses = every_loss()
    # Without parameters it may follow two teachers.
    kd_losses['HodgeFlowLoss']['teacher'] = dict(frozen=0.5, average=0.5)
    kd_losses['EdgeFlowLoss']['teacher'] = 'average'
    kd_losses['EdgeFlowLoss']['loss_weight'] = dict(type='LinearWarmup', value=1.0, end=4)
    cfg.model = tiny_model(
        type='KDEncoderDecoder',
        teacher=dict(frozen=teacher, average=dict(type='EMATeacher')),
        kd_losses=kd_losses,
    )
    cfg.merge_from_dict({'default_hooks.gradient_report.interval': 2})
    cfg.randomness = dict(seed=0, deterministic=True)
    return cfg


def test_all_at_once(tmp_path: Path, teacher: dict) -> None:
    build_runner(config(tmp_path / 'whole', teacher)).train()
    reports = [
        json.loads(line)
        for line in (tmp_path / 'whole' / 'gradients.jsonl')
        .read_text(encoding='utf-8')
        .splitlines()
    ]
    last = reports[-1]['losses']
    assert set(last) == set(every_loss())
    for name, stats in last.items():
        assert stats['features'] > 0 or name == 'EdgeFlowLoss', name

    build_runner(config(tmp_path / 'parts', teacher, train_cfg__max_iters=3)).train()
    build_runner(config(tmp_path / 'parts', teacher, resume=True)).train()
    for log in (tmp_path / 'parts').glob('*/*.log'):
        assert 'model.kd_losses was changed' not in log.read_text(encoding='utf-8')
    whole, parts = (read_checkpoint(tmp_path / x / 'iter_6.pth') for x in ('whole', 'parts'))
    adapters = [x['distillation']['losses'] for x in (whole, parts)]
    assert any(key.startswith('FitNetLoss.adapters') for key in adapters[0])
    for one, other in ((whole['state_dict'], parts['state_dict']), adapters):
        assert [k for k, tensor in one.items() if not torch.equal(tensor, other[k])] == []
