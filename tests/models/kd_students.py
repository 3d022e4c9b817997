"""Students, batches and training steps for the tests of distillation."""

from pathlib import Path

import torch
from conftest import tiny_model
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

# What the losses of `conftest.KD_LOSSES` log.
KEYS = ('at_loss', 'at_raw', 'kl_loss', 'kl_raw', 'sp_loss', 'sp_raw')


def build(cfg: dict, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    model._dump_init_info = lambda: None
    model.init_weights()
    return model.train()


def batch(seed: int = 0, size: int = 64) -> tuple[torch.Tensor, list[SegDataSample]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, size, size, generator=generator)
    labels = torch.randint(0, 12, (2, 1, size, size), generator=generator)
    labels[:, :, :8] = 255
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=x), metainfo=dict(img_shape=(size, size)))
        for x in labels
    ]
    return images, samples


def saved_teacher(folder: Path) -> dict:
    """A teacher with other weights and its model dict as config."""
    config = tiny_model()
    torch.save({'state_dict': build(config, seed=1).state_dict()}, folder / 'teacher.pth')
    return dict(config=config, checkpoint=str(folder / 'teacher.pth'))


def distilled(teacher: dict, losses: dict, seed: int = 0) -> torch.nn.Module:
    """A student as its constructor leaves it."""
    torch.manual_seed(seed)
    model = MODELS.build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))
    return model.train()


def labelled_batch(seed: int = 0) -> tuple[torch.Tensor, list[SegDataSample]]:
    """A batch without void pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    labels = torch.randint(0, 12, (2, 1, 64, 64), generator=generator)
    return images, [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def train(model: torch.nn.Module, steps: int = 3) -> list[float]:
    """A few steps of AdamW; the total loss of each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for step in range(steps):
        losses = model.loss(*batch(step))
        total = sum(value for name, value in losses.items() if 'loss' in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    return totals
