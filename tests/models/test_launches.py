"""Kernels for a CUDA graph give what the eager ones give."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_model
from mmseg.registry import MODELS

from mmseg_kd.models.launches import ShortRowNorm, column_sum, let_launches_be_free


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


def test_a_model_computes_the_same_where_launches_are_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('mmseg_kd.models.launches.FEWEST_ROWS', 1)
    torch.manual_seed(0)
    eager = MODELS.build(tiny_model()).eval()
    for parameter in eager.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    free = copy.deepcopy(eager)
    let_launches_be_free(free)
    image = torch.randn(2, 3, 64, 96)
    logits = [model(image, mode='tensor') for model in (eager, free)]
    assert not torch.equal(*logits)
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    for each in logits:
        each.square().mean().backward()
    for (name, a), b in zip(eager.named_parameters(), free.parameters(), strict=True):
        difference = (a.grad - b.grad).norm() / a.grad.norm().clamp(min=1e-6)
        assert difference < 1e-3, name
