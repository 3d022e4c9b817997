"""A training step waits for nothing: on torch's meta device, where nothing has a value.

A number read from a tensor, an index by a mask and a tensor of another device raise there. Models
and losses go there the way that they go on a GPU.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from gpu_cases import LOSSES as EACH_LOSS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_kd.config import load_config
from mmseg_kd.distillation import teachers
from mmseg_kd.models.launches import let_launches_be_free
from mmseg_kd.registry import MODELS

LOSSES: dict[str, dict[str, Any]] = EACH_LOSS | {
    'kl_scheduled': dict(
        type='KLDivergenceLoss',
        temperature=dict(type='CosineDecay', value=8.0, end=100, stop=0.5),
        loss_weight=dict(type='LinearWarmup', value=1.0, end=10, start=0.5),
    ),
}
# Operators of the forward pass of the student, its teacher and one loss.
MOST_OPERATORS = 610
# Three levels of four bands; flows in the loss' own basis; conjugate gradients.
MORE_OPERATORS = {
    'haar': 680,
    'flow': 630,
    'flow_features': 630,
    'flow_random': 630,
    'junction': 630,
    'flow_harmonic': 2200,
}


class Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        self.operators += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    # The meta device has none to switch off.
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: nullcontext())
    # The first batch may wait, to find out whether the teacher wants images otherwise.
    monkeypatch.setattr(teachers, '_normalises_alike', lambda *_: True)


def forward(model: dict) -> tuple[dict[str, torch.Tensor], int]:
    with torch.device('meta'):
        net = MODELS.build(model).train()
        if hasattr(net, 'build_teacher'):
            # An adapter draws its weights on the CPU.
            net.kd_losses.to('meta')
            net.build_teacher()
            net.kd_losses.put_numbers_on(torch.device('meta'))
        let_launches_be_free(net)
        labels = torch.zeros(1, 128, 128, dtype=torch.long)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for _ in range(2)]
        inputs = torch.empty(2, 3, 128, 128)
        with Count() as count:
            losses = net.loss(inputs, samples)
    return losses, count.operators


@pytest.mark.parametrize('name', LOSSES)
def test_a_distillation_step_waits_for_nothing(name: str) -> None:
    cfg = load_config('local_configs/toy/segformer.b0.toy.kd.py').model
    cfg.teacher = dict(type='EMATeacher')
    cfg.kd_losses = {f'{name}_loss': LOSSES[name]}
    losses, operators = forward(cfg)
    assert all(value.device.type == 'meta' for value in losses.values())
    assert operators < MORE_OPERATORS.get(name, MOST_OPERATORS)


@pytest.mark.parametrize('weights', [None, [1.0] * 12])
def test_the_loss_of_another_head_waits_for_nothing(weights: list[float] | None) -> None:
    cfg = load_config('local_configs/scratch/fpn.r18.scratch.py').model
    cfg.decode_head.loss_decode.class_weight = weights
    losses, _ = forward(cfg)
    assert all(value.device.type == 'meta' for value in losses.values())
