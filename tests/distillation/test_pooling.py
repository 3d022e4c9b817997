"""Pooling gives what torch's pooling gives, with its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmseg_kd.distillation.maps import average_pool, max_pool

SHAPES = [((6, 8), (3, 2)), ((7, 5), (3, 2)), ((5, 9), (5, 9)), ((4, 9), (1, 4))]


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, x: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(theirs)
    gradients = (torch.autograd.grad(y, x, grad)[0] for y in (ours, theirs))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(('size', 'cells'), SHAPES, ids=str)
def test_pooling(size: tuple[int, int], cells: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    assert_same(average_pool(x, cells), F.adaptive_avg_pool2d(x, cells), x)
    assert_same(max_pool(x, cells), F.max_pool2d(x, cells, ceil_mode=True), x)
