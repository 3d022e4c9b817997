"""Gradient, curl and divergence on the pixel grid: the identities, in float64."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from mmseg_kd.distillation.grid.calculus import (
    Flow,
    curl,
    divergence,
    face_gradient,
    gradient,
    pair_flow,
    rotation,
    structure_tensor,
    valid_edges,
    valid_faces,
)

SIZES = [(5, 7), (6, 6), (2, 9)]
each_size = pytest.mark.parametrize('size', SIZES)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_flow(height: int, width: int, seed: int = 0) -> Flow:
    return Flow(random(height, width - 1, seed=seed), random(height - 1, width, seed=seed + 1))


def product(a: Flow, b: Flow) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


@each_size
def test_a_gradient_has_no_curl(size: tuple[int, int]) -> None:
    assert curl(gradient(random(*size))).abs().max() < 1e-14


@each_size
def test_what_circulates_has_no_divergence(size: tuple[int, int]) -> None:
    assert divergence(rotation(random(size[0] - 1, size[1] - 1))).abs().max() < 1e-14


@each_size
def test_the_divergence_is_minus_the_transpose_of_the_gradient(size: tuple[int, int]) -> None:
    flow, potential = random_flow(*size), random(*size, seed=5)
    assert product(gradient(potential), flow) == pytest.approx(
        -float((potential * divergence(flow)).sum())
    )


@each_size
def test_rotation_is_the_transpose_of_curl(size: tuple[int, int]) -> None:
    flow, stream = random_flow(*size), random(size[0] - 1, size[1] - 1, seed=5)
    assert product(rotation(stream), flow) == pytest.approx(float((stream * curl(flow)).sum()))


def test_curl_goes_around_a_face_clockwise_on_the_screen() -> None:
    right, down = torch.tensor([[1.0], [10.0]]), torch.tensor([[100.0, 1000.0]])
    assert curl(Flow(right, down)).item() == 1 + 1000 - 10 - 100


def test_the_flow_of_two_classes_is_a_gradient() -> None:
    p = random(6, 8).sigmoid()
    flow = pair_flow(p, 1 - p)
    assert product(flow - gradient(-p), flow - gradient(-p)) < 1e-28
    assert curl(flow).abs().max() < 1e-15


def test_the_flow_of_three_classes_circulates_where_they_meet() -> None:
    ids = torch.zeros(8, 8, dtype=torch.long)
    ids[:, 4:] = 1
    ids[4:, :4] = 2
    p = torch.nn.functional.one_hot(ids).permute(2, 0, 1).double()
    total = sum(curl(pair_flow(p[a], p[b])).square() for a, b in combinations(range(3), 2))
    assert total.nonzero().tolist() == [[3, 3]]


def test_summed_squared_curls_are_four_times_the_determinant() -> None:
    p = random(2, 5, 7, 9).softmax(dim=1)
    xx, xy, yy = structure_tensor(p)
    pairs = combinations(range(5), 2)
    total = sum(curl(pair_flow(p[:, a], p[:, b])).square() for a, b in pairs)
    torch.testing.assert_close(total, 4 * (xx * yy - xy.square()), rtol=1e-9, atol=1e-16)


def test_the_differences_at_a_face_are_means_of_its_edges() -> None:
    x, y = face_gradient(torch.tensor([[1.0, 2.0], [5.0, 10.0]]))
    assert (x.item(), y.item()) == ((1 + 5) / 2, (4 + 8) / 2)


def test_a_mirror_turns_the_curl_and_keeps_the_structure() -> None:
    a, b = random(6, 7), random(6, 7, seed=1)
    mirrored = curl(pair_flow(a.flip(-1), b.flip(-1)))
    torch.testing.assert_close(mirrored, -curl(pair_flow(a, b)).flip(-1))
    maps = torch.stack([a, b])[None]
    for one, other, sign in zip(
        structure_tensor(maps), structure_tensor(maps.flip(-1)), (1, -1, 1), strict=True
    ):
        torch.testing.assert_close(other.flip(-1), sign * one)


def test_edges_and_faces_at_void_pixels_are_left_out() -> None:
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[0, 1] = False
    edges = valid_edges(valid)
    assert edges.x.tolist() == [[False, False, True], [True] * 3, [True] * 3]
    assert edges.y.tolist() == [[True, False, True, True], [True] * 4]
    assert valid_faces(valid).tolist() == [[False, False, True], [True] * 3]
