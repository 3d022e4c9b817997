"""Students, batches and training steps for the tests of distillation."""

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


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
