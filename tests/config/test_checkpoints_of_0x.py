"""Checkpoints of mmsegmentation 0.x."""

from pathlib import Path

import torch
from conftest import run


def test_a_checkpoint_of_0x_is_model_start_and_teacher(trained: Path, tmp_path: Path) -> None:
    saved = torch.load(trained / 'run' / 'iter_6.pth', map_location='cpu', weights_only=False)
    classes = saved['meta']['dataset_meta']['classes']
    head = {'weight': torch.zeros(12, 16, 1, 1), 'bias': torch.zeros(12)}
    weights = {f'decode_head.conv_seg.{key}': value for key, value in head.items()}
    old = tmp_path / 'iter_160000.pth'
    meta = dict(mmseg_version='0.11.0', CLASSES=classes, PALETTE=[[0, 0, 0]] * len(classes), iter=9)
    torch.save(dict(meta=meta, state_dict=weights | saved['state_dict']), old)
    config = trained / 'config.py'
    assert run('test.py', config, old, '--work-dir', tmp_path / 'test') == 0
    options = ('--cfg-options', 'train_cfg.max_iters=1', f'load_from={old.as_posix()}')
    assert run('train.py', config, '--work-dir', tmp_path / 'start', *options) == 0
    student = tmp_path / 'student.py'
    student.write_text(
        f"""_base_ = {config.as_posix()!r}
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(config={config.as_posix()!r}, checkpoint={old.as_posix()!r}),
    kd_losses=dict(kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0)))
train_cfg = dict(max_iters=1)
""",
        encoding='utf-8',
    )
    assert run('train.py', student, '--work-dir', tmp_path / 'student') == 0
