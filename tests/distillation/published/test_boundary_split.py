"""BoundarySplitLoss: boundaries, independent values and void."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import BoundarySplitLoss, ChannelWiseDivergence, KLDivergenceLoss
from mmseg_kd.distillation.losses.logits.boundary_split import class_boundaries
from mmseg_kd.distillation.maps import class_masks

CLASSES = 3


def boundaries(target: NDArray, reach: int) -> NDArray:
    """Dilate minus erode of the masks of the classes, over the labelled pixels of a window."""
    n, height, width = target.shape
    edges = np.zeros((n, CLASSES, height, width))
    for i, y, x in np.ndindex(target.shape):
        window = target[
            i, max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1
        ].ravel()
        window = window[window != 255]
        for c in range(CLASSES):
            inside = window == c
            edges[i, c, y, x] = inside.any() and not inside.all()
    return edges


def softmax(z: NDArray, axis: int | None = None) -> NDArray:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def by_loops(
    student: NDArray, teacher: NDArray, target: NDArray, reach: int, temperature: float
) -> tuple[float, float]:
    """Edge and body for labels at twice the resolution of the logits."""
    n, _, height, width = student.shape
    edges = boundaries(target, reach).reshape(n, CLASSES, height, 2, width, 2).mean(axis=(3, 5))
    # torch takes this label of each cell of 2x2 as the one nearest to its centre.
    valid = target[:, 1::2, 1::2] != 255
    p, q = (softmax(x / temperature, axis=1) for x in (teacher, student))
    edge, weight = 0.0, 0.0
    for i, y, x in zip(*np.nonzero(valid), strict=True):
        for c in range(CLASSES):
            a, b = p[i, c, y, x], q[i, c, y, x]
            edge += edges[i, c, y, x] * (a * np.log(a / b) - a + b)
        weight += edges[i, :, y, x].max()
    body = []
    for i, c in np.ndindex(n, CLASSES):
        inside = 1 - edges[i, c][valid[i]]
        a, b = (softmax(inside * x[i, c][valid[i]] / temperature) for x in (teacher, student))
        body.append(np.sum(a * np.log(a / b)))
    return temperature**2 * edge / weight, temperature**2 * float(np.mean(body))


@pytest.mark.parametrize(('kernel_size', 'temperature'), [(3, 1.0), (7, 1.0), (5, 2.0)])
def test_independent_value(kernel_size: int, temperature: float) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, CLASSES, 8, 9)) * 3
    target = np.kron(rng.integers(0, CLASSES, (2, 2, 3)), np.ones((1, 8, 6), dtype=int))
    target[0, :3, :5], target[1, 7:12] = 255, 255
    edge, body = by_loops(student, teacher, target, kernel_size // 2, temperature)
    maps = [torch.from_numpy(x) for x in (student, teacher, target)]
    for weights in ((1.0, 0.0), (0.0, 1.0), (50.0, 20.0)):
        loss = BoundarySplitLoss(*weights, kernel_size, temperature)
        assert float(loss(*maps)) == pytest.approx(weights[0] * edge + weights[1] * body, rel=1e-9)


@pytest.mark.parametrize('kernel_size', [3, 7])
def test_boundaries_are_dilation_minus_erosion(kernel_size: int) -> None:
    rng = np.random.default_rng(0)
    target = np.kron(rng.integers(0, CLASSES, (2, 3, 4)), np.ones((1, 5, 4), dtype=int))
    target[0, 4:9, 3:10] = 255
    masks = class_masks(torch.from_numpy(target), CLASSES, ignore_index=255)
    found = class_boundaries(masks, kernel_size)
    assert np.array_equal(found.numpy(), boundaries(target, kernel_size // 2))
    # Without void it equals torch's pooling, which ignores pixels outside of the image.
    whole = class_masks(torch.from_numpy(target[1:]), CLASSES, ignore_index=255)
    pool = torch.nn.MaxPool2d(kernel_size, 1, kernel_size // 2)
    expected = pool(whole.double()) + pool(-whole.double())
    assert torch.equal(class_boundaries(whole, kernel_size).double(), expected)


def test_void_is_not_a_class_and_makes_no_boundary() -> None:
    student, teacher = torch.randn(2, 1, CLASSES, 8, 8)
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    target[:, :, 4:] = 255
    only_edge = BoundarySplitLoss(body_weight=0.0)
    assert float(only_edge(student, teacher, target)) == 0
    assert float(only_edge(student, teacher, torch.where(target == 255, 1, target))) > 0
    # Without a boundary the whole image is body.
    body = BoundarySplitLoss(edge_weight=0.0, body_weight=1.0)(student, teacher, target)
    expected = ChannelWiseDivergence(temperature=1.0)(student, teacher, target)
    assert float(body) == pytest.approx(float(expected), rel=1e-6)


def test_the_edge_is_kl_where_every_class_meets() -> None:
    student, teacher = torch.randn(2, 1, CLASSES, 1, 3, dtype=torch.float64)
    target = torch.tensor([[[0, 1, 2]]])
    loss = BoundarySplitLoss(edge_weight=1.0, body_weight=0.0, kernel_size=5)
    expected = KLDivergenceLoss(temperature=1.0)(student, teacher)
    assert float(loss(student, teacher, target)) == pytest.approx(float(expected), rel=1e-9)


def test_the_edge_is_least_where_the_student_equals_the_teacher() -> None:
    teacher = torch.randn(1, CLASSES, 8, 8)
    student = teacher.clone().requires_grad_()
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    target[:, :, 4:] = 1
    value = BoundarySplitLoss()(student, teacher, target)
    value.backward()
    assert float(value) == 0
    assert float(student.grad.abs().max()) < 1e-6
