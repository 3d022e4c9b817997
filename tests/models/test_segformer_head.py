"""The folded head against the published formula."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd.models import SegFormerHead

CHANNELS = (8, 12, 20, 32)


def head(norm_cfg: dict | None) -> SegFormerHead:
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type='SegFormerHead',
            in_channels=CHANNELS,
            embed_dim=24,
            num_classes=5,
            dropout_ratio=0.0,
            norm_cfg=norm_cfg,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        )
    ).double()
    for p in head.parameters():
        nn.init.normal_(p)
    return head


def published(head: SegFormerHead, features: list[torch.Tensor]) -> torch.Tensor:
    """Project, upsample, concatenate from coarse to fine, fuse at full width."""
    size = features[0].shape[2:]
    maps = []
    for i in (4, 3, 2, 1):
        x = features[i - 1]
        projected = getattr(head, f'linear_c{i}').proj(x.flatten(2).transpose(1, 2))
        projected = projected.transpose(1, 2).unflatten(2, x.shape[2:])
        maps.append(F.interpolate(projected, size, mode='bilinear', align_corners=False))
    fuse = head.linear_fuse
    return head.linear_pred(fuse.activate(fuse.bn(fuse.conv(torch.cat(maps, dim=1)))))


@pytest.mark.parametrize('norm_cfg', [dict(type='BN'), None], ids=['BN', 'no norm'])
@pytest.mark.parametrize('sizes', [(16, 8, 4, 2), (19, 10, 5, 3)], ids=['even', 'odd'])
def test_the_fold_is_exact(norm_cfg: dict | None, sizes: tuple[int, ...]) -> None:
    ours = head(norm_cfg)
    reference = copy.deepcopy(ours)
    features = [
        torch.randn(2, c, s, s + 1, dtype=torch.float64)
        for c, s in zip(CHANNELS, sizes, strict=True)
    ]
    inputs, their_inputs = ([x.clone().requires_grad_() for x in features] for _ in range(2))
    logits, expected = ours(inputs), published(reference, their_inputs)
    torch.testing.assert_close(logits, expected, atol=1e-10, rtol=1e-10)
    weight = torch.randn_like(logits)
    (logits * weight).sum().backward()
    (expected * weight).sum().backward()
    for x, y in zip(inputs, their_inputs, strict=True):
        torch.testing.assert_close(x.grad, y.grad, atol=1e-9, rtol=1e-9)
    for (name, p), q in zip(ours.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-8, rtol=1e-8, msg=name)


def test_published_names() -> None:
    assert set(head(dict(type='BN')).state_dict()) == {
        *(f'linear_c{i}.proj.{x}' for i in (1, 2, 3, 4) for x in ('weight', 'bias')),
        'linear_fuse.conv.weight',
        *(f'linear_fuse.bn.{x}' for x in ('weight', 'bias', 'running_mean', 'running_var')),
        'linear_fuse.bn.num_batches_tracked',
        'linear_pred.weight',
        'linear_pred.bias',
    }
