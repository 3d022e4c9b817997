"""Models, runtimes and metrics of mmsegmentation, and models of one's own, train here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import METRICS, MODELS
from torch import Tensor, nn

from mmseg_kd.config.defaults import fill_in
from mmseg_kd.engine import build_runner


@METRICS.register_module()
class RisingMetric(BaseMetric):
    """A number that rises from one evaluation to the next."""

    number = 0.0

    def process(self, *_: object) -> None:
        """Count an image."""
        self.results.append(None)

    def compute_metrics(self, _: list) -> dict[str, float]:
        """Return the next number."""
        self.number += 1
        return {'rising': self.number}


BN = dict(type='BN')
OHEM = dict(type='OhemCrossEntropy', thres=0.9, min_kept=100)
HEADS = {
    'DDRNet': (
        dict(channels=8, ppm_channels=16),
        dict(type='DDRHead', in_channels=32, channels=8, loss_decode=[OHEM, OHEM]),
    ),
    'PIDNet': (
        dict(channels=8, ppm_channels=16, num_stem_blocks=1, num_branch_blocks=1),
        dict(
            type='PIDHead', in_channels=32, channels=8,
            loss_decode=[dict(type='CrossEntropyLoss'), OHEM, dict(type='BoundaryLoss'), OHEM],
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', HEADS)
def test_a_backbone_that_returns_other_maps_in_training(name: str, tmp_path: Path) -> None:
    backbone, head = HEADS[name]
    cfg = tiny_config(tmp_path, train_cfg__max_iters=1, train_cfg__val_interval=1)
    backbone = dict(type=name, norm_cfg=BN, **backbone)
    cfg.model = tiny_model(backbone=backbone, decode_head=dict(head, num_classes=12, norm_cfg=BN))
    cfg.model.data_preprocessor.size = (128, 128)
    cfg.train_dataloader.dataset.pipeline[1].crop_size = (128, 128)
    if name == 'PIDNet':
        cfg.train_dataloader.dataset.pipeline.insert(-1, dict(type='GenerateEdge'))
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter == 1
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 1


@MODELS.register_module(force=True)
class OneConvolution(BaseSegmentor):
    """A segmentor without backbone and heads."""

    def __init__(self, num_classes: int, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.net, self.align_corners = nn.Conv2d(3, num_classes, 3, padding=1), False

    def extract_feat(self, inputs: Tensor) -> Tensor:
        return inputs

    def encode_decode(self, inputs: Tensor, batch_img_metas: list) -> Tensor:
        return self.net(inputs)

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self.net(inputs)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        target = torch.cat([sample.gt_sem_seg.data for sample in data_samples])
        return dict(loss=nn.functional.cross_entropy(self.net(inputs), target, ignore_index=255))

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        return self.postprocess_result(self.net(inputs), data_samples)


def test_a_segmentor_without_heads(tmp_path: Path) -> None:
    preprocessor = tiny_model()['data_preprocessor']
    cfg = tiny_config(tmp_path, train_cfg__max_iters=2, train_cfg__val_interval=2)
    cfg.model = dict(type='OneConvolution', num_classes=12)
    cfg.data_preprocessor = preprocessor
    fill_in(cfg)
    assert cfg.model == dict(cfg.model, data_preprocessor=preprocessor)
    assert 'test_cfg' not in cfg.model
    build_runner(cfg).train()
    (log,) = tmp_path.glob('*/*.log')
    assert 'OneConvolution, 0.00 M parameters' in log.read_text(encoding='utf-8')


def test_a_runtime_and_a_metric_of_mmsegmentation(tmp_path: Path, teacher: dict) -> None:
    cfg = tiny_config(tmp_path, train_cfg__max_iters=2, train_cfg__val_interval=2)
    cfg.default_hooks = ConfigDict(
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=1),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
        sampler_seed=dict(type='DistSamplerSeedHook'),
    )
    cfg.val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    cfg.model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    runner = build_runner(cfg)
    runner.train()
    kinds = [type(hook).__name__ for hook in runner.hooks]
    for kind in ('DistillationHook', 'GradientReportHook', 'TeacherRecordHook'):
        assert kinds.count(kind) == 1
    metrics = json.loads((tmp_path / 'teacher.json').read_text())['metrics']
    assert metrics['mIoU'] > 0
    assert (tmp_path / 'gradients.jsonl').is_file()


def test_images_of_four_channels_are_distilled(tmp_path: Path) -> None:
    model = tiny_model(data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)))
    model['backbone']['in_channels'] = 4
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), tmp_path / 'teacher.pth')
    teacher = dict(config=model, checkpoint=str(tmp_path / 'teacher.pth'))
    student = dict(model, type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    built = MODELS.build(student)
    taps = built.build_teacher()(torch.rand(1, 4, 64, 64), ['logits'], built.data_preprocessor)
    assert taps['logits'].shape == (1, 12, 16, 16)


def test_a_test_by_the_runner_of_a_training(tmp_path: Path, trained: Path) -> None:
    runner = build_runner(tiny_config(tmp_path))
    runner.load_checkpoint(str(trained / 'run' / 'iter_6.pth'))
    assert 'mIoU' in runner.test()
    assert not list(tmp_path.glob('*.py'))


def test_a_best_checkpoint_leaves_no_other_behind(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train_cfg__val_interval=1)
    # Every evaluation is the best so far.
    cfg.default_hooks.checkpoint |= dict(interval=4, save_best='rising', rule='greater')
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='RisingMetric')]
    build_runner(cfg).train()
    files = {file.name for file in tmp_path.glob('*.pth')}
    assert files == {'iter_4.pth', 'iter_6.pth', 'best_rising_iter_6.pth'}


def test_checkpoints_from_another_beginning_are_kept(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train_cfg__val_interval=6)
    cfg.default_hooks.checkpoint |= dict(interval=2, save_begin=1, save_best='mIoU')
    build_runner(cfg).train()
    files = {file.name for file in tmp_path.glob('iter_*.pth')}
    assert files == {'iter_1.pth', 'iter_3.pth', 'iter_5.pth', 'iter_6.pth'}
