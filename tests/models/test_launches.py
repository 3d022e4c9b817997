"""The LayerNorm of many short rows is torch's LayerNorm."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmseg_kd.models.launches import ShortRowNorm, column_sum


@pytest.mark.parametrize('shape', [(2, 64, 32), (3, 7, 5), (128, 16)], ids=str)
def test_values_and_gradients(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = (3 + 2 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
    weight, bias = (torch.randn(shape[-1], dtype=torch.float64, requires_grad=True) for _ in '12')
    ours = ShortRowNorm.apply(x, weight, bias, 1e-6)
    theirs = F.layer_norm(x, shape[-1:], weight, bias, 1e-6)
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(x)
    expected = torch.autograd.grad(theirs, (x, weight, bias), grad)
    for a, b in zip(torch.autograd.grad(ours, (x, weight, bias), grad), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_of_one_value() -> None:
    x = torch.full((4, 8), 1e3, requires_grad=True)
    weight, bias = torch.ones(8), torch.zeros(8)
    ShortRowNorm.apply(x, weight, bias, 1e-6).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize('shape', [(128, 3), (4, 32, 3), (5, 3)], ids=str)
def test_column_sum(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(column_sum(x), x.flatten(0, -2).sum(0))
    # As the gradient of a map, channels first in memory.
    strided = torch.randn(1, *shape[::-1], dtype=torch.float64).flatten(2).mT
    torch.testing.assert_close(column_sum(strided), strided.sum((0, 1)))
