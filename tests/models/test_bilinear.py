"""Interpolation by products of matrices gives what torch's interpolation gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmseg_kd.models.segformer_head import sum_at_finest

SIZES = [
    [(16, 12), (8, 6), (4, 3), (2, 2)],
    [(15, 20), (8, 10), (4, 5), (2, 3)],
    [(7, 5)],
]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('sizes', SIZES, ids=str)
def test_sum_and_gradients(sizes: list[tuple[int, int]], align_corners: bool) -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, *size, 5, dtype=torch.float64, requires_grad=True) for size in sizes]
    ours = sum_at_finest(maps, align_corners)
    planes = [x.permute(0, 3, 1, 2) for x in maps]
    theirs = planes[0] + sum(
        F.interpolate(x, sizes[0], mode='bilinear', align_corners=align_corners) for x in planes[1:]
    )
    theirs = theirs.permute(0, 2, 3, 1)
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(theirs)
    expected = torch.autograd.grad(theirs, maps, grad)
    for a, b in zip(torch.autograd.grad(ours, maps, grad), expected, strict=True):
        torch.testing.assert_close(a, b)
