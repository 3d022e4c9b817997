"""The cross-entropy that upsamples on the way, against upsampling first."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_kd.models.upsampled_cross_entropy import plain_cross_entropy


@pytest.mark.parametrize('size', [(6, 5), (12, 10), (18, 15), (24, 20), (48, 40), (31, 17)])
@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('weighted', [False, True])
def test_value_gradient_and_count(size: tuple[int, int], aligned: bool, weighted: bool) -> None:
    torch.manual_seed(0)
    logits = (5 * torch.randn(3, 7, 6, 5, dtype=torch.float64)).requires_grad_()
    target = torch.randint(0, 7, (3, *size))
    target[0, :3] = 255
    target[2] = 255
    class_weight = torch.rand(7, dtype=torch.float64) if weighted else None
    up = F.interpolate(logits, size, mode='bilinear', align_corners=aligned)
    expected = F.cross_entropy(up, target, class_weight, ignore_index=255, reduction='sum')
    total, right = plain_cross_entropy(logits, target, 255, class_weight, aligned)
    torch.testing.assert_close(total, expected, atol=1e-10, rtol=1e-10)
    assert right == (up.argmax(1) == target).sum()
    weight = 0.37
    expected_grad = torch.autograd.grad(weight * expected, logits)[0]
    grad = torch.autograd.grad(weight * total, logits)[0]
    torch.testing.assert_close(grad, expected_grad, atol=1e-10, rtol=1e-10)


def test_no_pixel_that_counts() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    target = torch.full((1, 8, 8), 255)
    total, right = plain_cross_entropy(logits, target, 255, None, False)
    total.backward()
    assert (float(total), int(right)) == (0, 0)
    assert not logits.grad.any()


def test_large_logits_and_bfloat16() -> None:
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).bfloat16().requires_grad_()
    target = torch.ones(1, 4, 4, dtype=torch.long)
    total, _ = plain_cross_entropy(logits, target, 255, None, False)
    assert total.dtype == torch.float32
    assert float(total) == pytest.approx(16 * 2e4, rel=1e-2)
    total.backward()
    assert logits.grad.dtype == torch.bfloat16
    assert logits.grad.flatten().tolist() == [16, -16]


@pytest.mark.parametrize('deterministic', [False, True])
@pytest.mark.parametrize('weighted', [False, True])
def test_plain_form(deterministic: bool, weighted: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    # Void is a class here, as `Unlabelled` of 12 classes is, so a prediction can equal it.
    target, void = torch.randint(0, 5, (2, 15, 22)), 2
    weight = torch.rand(5, dtype=torch.float64) if weighted else None
    wide = F.interpolate(logits, (15, 22), mode='bilinear', align_corners=False)
    expected = F.cross_entropy(wide, target, weight, ignore_index=void, reduction='sum')
    (gradient,) = torch.autograd.grad(expected, logits)
    torch.use_deterministic_algorithms(deterministic)
    try:
        loss, right = plain_cross_entropy(logits, target, void, weight, False)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], gradient)
    assert int(right) == int(((wide.argmax(1) == target) & (target != void)).sum())
