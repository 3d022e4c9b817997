"""Distil in a plain PyTorch loop, with the losses and taps of mmseg_kd.

python examples/minimal_kd.py [ITERATIONS]

On drawn street scenes it trains a teacher (SegFormer-B2) on the labels, then a student
(SegFormer-B0) on the labels and the teacher. For a model of another library, pass the maps to the
losses yourself: they are tensors (N, C, H, W).
"""

import sys
from collections.abc import Iterator
from itertools import chain, islice, repeat

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmseg_kd.config import load_config
from mmseg_kd.distillation import AttentionTransferLoss, ChannelWiseDivergence, record_taps
from mmseg_kd.distillation.teacher import build_segmentor

TEACHER = 'local_configs/toy/segformer.b2.toy.py'
STUDENT = 'local_configs/toy/segformer.b0.toy.py'


def batches(model: nn.Module, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised images (N, 3, H, W) and labels (N, H, W), where 255 is void."""
    scenes = DATASETS.build(load_config(STUDENT).train_dataloader.dataset)
    loader = DataLoader(scenes, batch_size=4, shuffle=True, collate_fn=pseudo_collate)
    for batch in islice(chain.from_iterable(repeat(loader)), count):
        data = model.data_preprocessor(batch, training=True)
        yield data['inputs'], torch.cat([x.gt_sem_seg.data for x in data['data_samples']])


def train(model: nn.Module, teacher: nn.Module | None = None, iterations: int = 20) -> list[float]:
    """Train a model on the labels and, if there is one, on its teacher; return the losses."""
    cwd = ChannelWiseDivergence(temperature=4.0, loss_weight=3.0)  # reads the tap 'logits'
    at = AttentionTransferLoss(loss_weight=1.0)  # reads the stages before their last norm
    taps = [*cwd.stages, *at.stages]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for images, labels in batches(model.train(), iterations):
        with record_taps(model, taps) as ours:
            logits = model(images, mode='tensor')
        logits = F.interpolate(logits, labels.shape[1:], mode='bilinear', align_corners=False)
        loss = F.cross_entropy(logits, labels, ignore_index=255)
        if teacher is not None:
            with torch.no_grad(), record_taps(teacher, taps) as theirs:
                teacher(images, mode='tensor')
            loss = loss + cwd(ours['logits'], theirs['logits'], labels)
            loss = loss + at([ours[tap] for tap in at.stages], [theirs[tap] for tap in at.stages])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history


def main(iterations: int = 20) -> None:
    """Train the teacher, then the student."""
    init_default_scope('mmseg_kd')  # where the names in configs are looked up
    torch.manual_seed(0)
    teacher, student = (build_segmentor(load_config(file).model) for file in (TEACHER, STUDENT))
    losses = {'teacher': train(teacher, iterations=iterations)}
    losses['student'] = train(student, teacher.eval().requires_grad_(False), iterations)
    for name, values in losses.items():
        print(f'{name}: loss {values[0]:.2f} at the first iteration, {values[-1]:.2f} at the last')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:2]))
