"""The lower bound of a step is counted from its operations, bytes and the device's rates."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from measuring.lower_bound import COPIED, SIDES, covered, rates_of, work_of


@pytest.fixture(autouse=True)
def small_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIDES, 'cpu', 512)
    monkeypatch.setitem(COPIED, 'cpu', 2**24)


def test_operations_and_bytes_of_a_product() -> None:
    a, b = torch.randn(8, 16), torch.randn(16, 4)
    work = work_of(lambda: a @ b)
    assert work.flops == 2 * 8 * 16 * 4
    assert work.bytes == 4 * (8 * 16 + 16 * 4 + 8 * 4)


def test_views_and_empty_tensors_move_nothing() -> None:
    a = torch.randn(8, 16)
    assert work_of(lambda: a.t().reshape(4, 32)[:2].unsqueeze(0)).bytes == a.nbytes * 2
    assert work_of(lambda: a.view(4, 32).t()[3:]).bytes == 0
    assert work_of(lambda: torch.empty(100)).bytes == 0
    assert work_of(lambda: a.add_(1)).bytes == 2 * a.nbytes


@pytest.mark.parametrize('groups', [1, 8])
def test_training_a_convolution_takes_three_times_its_forward_pass(groups: int) -> None:
    image = torch.randn(2, 8, 12, 12, requires_grad=True)
    weight = torch.randn(8, 8 // groups, 3, 3, requires_grad=True)
    forward = 2 * 2 * 12 * 12 * 8 * (8 // groups) * 9
    step = lambda: F.conv2d(image, weight, padding=1, groups=groups).sum().backward()  # noqa: E731
    assert work_of(step).flops == 3 * forward


def test_attention_is_counted() -> None:
    q, k, v = (torch.randn(1, 2, length, 8, requires_grad=True) for length in (32, 16, 16))
    forward = 2 * 2 * 2 * 32 * 16 * 8
    step = lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()  # noqa: E731
    # Backward computes the scores again: five products beside the two.
    assert work_of(step).flops == forward * 7 // 2


def test_rates_are_of_this_machine() -> None:
    rates = rates_of('cpu', torch.float32)
    assert 1e9 < rates.flops < 1e13
    assert 1e8 < rates.bytes < 1e12


def test_union_of_spans() -> None:
    assert covered([]) == 0
    assert covered([(5, 9), (0, 2), (1, 3), (6, 7), (9, 10)]) == 3 + 5
