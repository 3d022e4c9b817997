"""The Hodge decomposition on the pixel grid, against dense linear algebra in float64."""

import pytest
import torch
from torch import Tensor

from mmseg_kd.distillation.grid.calculus import (
    Flow,
    curl,
    divergence,
    gradient,
    rotation,
    valid_edges,
    valid_faces,
)
from mmseg_kd.distillation.grid.decomposition import (
    Split,
    basis_of,
    spectrum_of,
    split_masked,
    transform,
)

HEIGHT, WIDTH = 6, 7
EDGES = HEIGHT * (WIDTH - 1) + (HEIGHT - 1) * WIDTH


def random_flow(*batch: int, seed: int = 0) -> Flow:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*batch, HEIGHT, WIDTH - 1, dtype=torch.float64, generator=generator)
    y = torch.randn(*batch, HEIGHT - 1, WIDTH, dtype=torch.float64, generator=generator)
    return Flow(x, y)


def flat(flow: Flow) -> Tensor:
    """A flow as a vector (..., E)."""
    return torch.cat([part.flatten(-2) for part in flow], dim=-1)


def unflat(vector: Tensor) -> Flow:
    x, y = vector.split([HEIGHT * (WIDTH - 1), (HEIGHT - 1) * WIDTH], dim=-1)
    return Flow(x.unflatten(-1, (HEIGHT, WIDTH - 1)), y.unflatten(-1, (HEIGHT - 1, WIDTH)))


def holes(*places: tuple[slice, slice]) -> Tensor:
    valid = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    for rows, columns in places:
        valid[rows, columns] = False
    return valid


def dense_split(flow: Flow, valid: Tensor) -> list[Tensor]:
    """The three parts by pseudo-inverses of the incidence matrices, as vectors."""
    edges = flat(Flow(*(mask.double() for mask in valid_edges(valid))))
    faces = valid_faces(valid).flatten().double()
    nodes = torch.eye(HEIGHT * WIDTH, dtype=torch.float64).unflatten(1, (HEIGHT, WIDTH))
    d0 = (flat(gradient(nodes)) * edges).t()
    squares = torch.eye(len(faces), dtype=torch.float64).unflatten(1, (HEIGHT - 1, WIDTH - 1))
    d1t = flat(rotation(squares)).t() * faces
    w = flat(flow) * edges
    gradient_part = d0 @ torch.linalg.pinv(d0) @ w
    curl_part = d1t @ torch.linalg.pinv(d1t) @ w
    return [gradient_part, curl_part, w - gradient_part - curl_part]


def assert_equal(parts: Split, expected: list[Tensor], atol: float = 1e-10) -> None:
    for part, vector in zip(parts, expected, strict=True):
        torch.testing.assert_close(flat(part), vector, rtol=0, atol=atol)


def test_the_split_of_a_full_grid_is_that_of_dense_algebra() -> None:
    flow = random_flow()
    assert_equal(split_masked(flow, holes()), dense_split(flow, holes()))


@pytest.mark.parametrize(
    ('valid', 'betti'),
    [
        (holes((slice(2, 4), slice(2, 4))), 1),
        (holes((slice(1, 3), slice(1, 3)), (slice(4, 5), slice(4, 6))), 2),
        # A bite out of the border is no hole.
        (holes((slice(0, 3), slice(2, 4))), 0),
        # Two regions without an edge between them.
        (holes((slice(None), slice(3, 4))), 0),
    ],
)
def test_a_grid_with_holes_has_a_harmonic_part_of_as_many_dimensions(
    valid: Tensor, betti: int
) -> None:
    flow = random_flow()
    assert_equal(split_masked(flow, valid, iterations=60), dense_split(flow, valid))
    every = unflat(torch.eye(EDGES, dtype=torch.float64))
    harmonic = flat(split_masked(every, valid, iterations=60).harmonic)
    assert torch.linalg.matrix_rank(harmonic, atol=1e-8) == betti
    assert harmonic.trace() == pytest.approx(betti, abs=1e-8)


def test_the_parts_are_orthogonal_and_sum_to_the_flow() -> None:
    flow, valid = random_flow(2, 3), holes((slice(2, 4), slice(2, 4)))
    parts = split_masked(flow, valid, iterations=60)
    edges = flat(Flow(*(mask.double() for mask in valid_edges(valid))))
    torch.testing.assert_close(sum(map(flat, parts)), flat(flow) * edges)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (flat(parts[one]) * flat(parts[other])).sum(dim=-1).abs().max() < 1e-10
    assert divergence(parts.harmonic).abs().max() < 1e-10
    assert (curl(parts.harmonic) * valid_faces(valid)).abs().max() < 1e-10


def test_further_iterations_change_nothing() -> None:
    flow, valid = random_flow(), holes((slice(2, 4), slice(2, 4)))
    assert_equal(split_masked(flow, valid, 400), [flat(x) for x in split_masked(flow, valid, 60)])


def test_a_spectrum_keeps_the_energy_of_each_part() -> None:
    flow = random_flow(4)
    spectrum = spectrum_of(flow)
    energies = [part.square().sum(dim=(-2, -1)) for part in spectrum]
    torch.testing.assert_close(energies[0] + energies[1], flow.energy())
    parts = split_masked(flow, holes())
    torch.testing.assert_close(energies, [parts.gradient.energy(), parts.curl.energy()])


def test_the_flow_of_noise_divides_by_the_dimensions() -> None:
    # HW - 1 dimensions of gradients, (H - 1)(W - 1) of curls.
    every = unflat(torch.eye(EDGES, dtype=torch.float64))
    energies = [part.square().sum() for part in spectrum_of(every)]
    assert [round(float(x), 9) for x in energies] == [
        HEIGHT * WIDTH - 1,
        (HEIGHT - 1) * (WIDTH - 1),
    ]


def test_another_angle_gives_orthogonal_parts_of_the_same_dimensions() -> None:
    every = unflat(torch.eye(EDGES, dtype=torch.float64))
    angle = torch.rand(HEIGHT, WIDTH, dtype=torch.float64)
    own, other = spectrum_of(every), spectrum_of(every, angle)
    for part, expected in zip(other, own, strict=True):
        ranks = [torch.linalg.matrix_rank(x.flatten(1)) for x in (part, expected)]
        assert ranks[0] == ranks[1]
    torch.testing.assert_close(
        sum(part.square().sum(dim=(-2, -1)) for part in other), every.energy()
    )
    assert (other.curl - own.curl).abs().max() > 0.1


def test_the_transform_is_orthonormal_and_knows_the_laplacian() -> None:
    maps = torch.randn(3, HEIGHT, WIDTH, dtype=torch.float64)
    coefficients, basis = transform(maps), basis_of(maps)
    torch.testing.assert_close(coefficients.square().sum(), maps.square().sum())
    laplacian = transform(-divergence(gradient(maps)))
    torch.testing.assert_close(laplacian, coefficients * basis.eigenvalues)
    assert 7 < float(basis.eigenvalues.max()) < 8


def test_derivatives_pass_through_the_spectrum() -> None:
    inputs = [part.requires_grad_() for part in random_flow()]
    assert torch.autograd.gradcheck(lambda x, y: tuple(spectrum_of(Flow(x, y))), inputs)


def test_float32_is_as_exact_as_its_digits() -> None:
    flow = random_flow()
    single = Flow(*(part.float() for part in flow))
    valid = holes((slice(2, 4), slice(2, 4)))
    for part, exact in zip(split_masked(single, valid), split_masked(flow, valid), strict=True):
        torch.testing.assert_close(flat(part).double(), flat(exact), rtol=0, atol=3e-5)


def test_a_basis_made_in_inference_mode_serves_training() -> None:
    with torch.inference_mode():
        transform(torch.ones(11, 13))
    maps = torch.ones(11, 13, requires_grad=True)
    transform(maps).square().sum().backward()
    torch.testing.assert_close(maps.grad, 2 * torch.ones(11, 13))
