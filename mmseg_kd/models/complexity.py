"""The multiply-accumulates (MACs) and parameters of a segmentor, part by part."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_kd.models.failures import model_errors
from mmseg_kd.models.segformer_head import LevelFusion, SegFormerHead

FLOPS_PER_MAC = 2
# Inference runs neither.
TRAINING_ONLY = ('auxiliary_head', 'kd_losses')


class Part(NamedTuple):
    """A child module of a segmentor.

    Attributes:
        name: Its attribute, e.g. 'backbone'.
        parameters: Number of its parameters.
        macs: MACs per image; for SegFormer's head by the formula of the paper.
    """

    name: str
    parameters: int
    macs: int

    @property
    def training_only(self) -> bool:
        """Whether inference leaves the part out."""
        return self.name in TRAINING_ONLY


def measure_complexity(model: nn.Module, size: tuple[int, int], in_channels: int = 3) -> list[Part]:
    """Count the MACs of one image's forward pass, up to the logits.

    torch's `FlopCounterMode` counts matrix products, convolutions and attention, on tensors without
    data. As in publications, norms, activations and interpolation are not counted.

    Args:
        model: The segmentor; it is not changed.
        size: Height and width of the image.
        in_channels: Channels of the image.

    Returns:
        The child modules that have parameters or MACs, and last 'total', the sum of those that
        inference runs.

    Raises:
        UserError: The model fails on images of this size, or on tensors without data.
    """
    model = revert_sync_batchnorm(copy.deepcopy(model)).eval().to('meta')
    for module in model.modules():
        if isinstance(module, SegFormerHead):
            module.linear_fuse.forward = partial(published_fusion, module.linear_fuse)
    macs = _macs(model, torch.zeros(1, in_channels, *size, device='meta'))
    parts = [
        Part(name, sum(p.numel() for p in child.parameters()), macs[name])
        for name, child in model.named_children()
    ]
    parts = [part for part in parts if part.parameters or part.macs]
    run = [part for part in parts if not part.training_only]
    return [*parts, Part('total', sum(p.parameters for p in run), sum(p.macs for p in run))]


def published_fusion(
    fuse: LevelFusion, features: Sequence[Tensor], levels: Sequence[nn.ModuleDict]
) -> Tensor:
    """Fuse the levels as in SegFormer's paper, with the wide convolution at the finest stride.

    It computes the same as `LevelFusion.forward`, which documents the shapes.
    """
    pairs = zip(features, levels, strict=True)
    maps = [level.proj(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for x, level in pairs]
    finest = dict(size=features[0].shape[2:], mode='bilinear', align_corners=fuse.align_corners)
    maps = [F.interpolate(x, **finest) for x in maps]
    return fuse.activate(fuse.bn(fuse.conv(torch.cat(maps[::-1], dim=1))))


def _macs(model: nn.Module, image: Tensor) -> dict[str, int]:
    what = f'an image of {image.shape[2]}x{image.shape[3]} pixels without data'
    with model_errors(model, what), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image, mode='tensor')
    counts = counter.get_flop_counts()
    macs = {name: sum(ops.values()) // FLOPS_PER_MAC for name, ops in counts.items()}
    root = type(model).__name__
    found = {name: macs.get(f'{root}.{name}', 0) for name, _ in model.named_children()}
    # mmseg calls the head's `forward` directly, so the counter does not see that module.
    found['decode_head'] += macs.get('Global', 0) - sum(found.values())
    return found
