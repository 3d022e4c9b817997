"""The Hodge decomposition of a flow on the pixel grid.

A flow on a full grid is the sum of the gradient of a potential and of a part that circulates
around faces, and the two are orthogonal. A grid with holes has a third, harmonic part that runs
around the holes (Lim, Hodge Laplacians on Graphs, SIAM Review 2020,
https://arxiv.org/abs/1507.05379).

In the cosine basis (DCT-II) of the nodes and the sine basis (DST-I) of the edges the decomposition
is a rotation of two numbers for each frequency. So it is exact and costs two matrix products for
each direction.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_kd.distillation.cached_tensors import cached
from mmseg_kd.distillation.grid import calculus
from mmseg_kd.distillation.grid.calculus import Flow

# Iterations of conjugate gradients. With the void of six CamVid images, at a quarter of the images'
# height and width, the error is at most 0.011 % of the flow's norm.
ITERATIONS = 20


class Basis(NamedTuple):
    """The frequencies of a grid of H x W nodes.

    Attributes:
        cosines: Orthonormal DCT-II of the nodes of a column (H, H) and of a row (W, W).
        sines: Orthonormal DST-I of the edges of a column (H-1, H-1) and of a row (W-1, W-1). The
            differences of row k of the cosines are multiples of row k-1 of the sines.
        eigenvalues: Eigenvalues of the Laplacian by frequency (H, W), 0 to 8.
        angle: Angle by frequency (H, W) of the rotation that separates gradient from curl.
    """

    cosines: tuple[Tensor, Tensor]
    sines: tuple[Tensor, Tensor]
    eigenvalues: Tensor
    angle: Tensor


def basis_of(maps: Tensor) -> Basis:
    """Return the basis of the grid of maps (..., H, W)."""
    return _basis(*maps.shape[-2:], maps.dtype, maps.device)


@cached(maxsize=32)
def _basis(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Basis:
    sides = [torch.arange(n, dtype=torch.float64, device=device) for n in (height, width)]
    cosines, sines, factors = [], [], []
    for k in sides:
        step, scale = math.pi / len(k), math.sqrt(2 / len(k))
        rows = torch.cos(step * k[:, None] * (k + 0.5)) * scale
        rows[0] /= math.sqrt(2)
        cosines.append(rows.to(dtype))
        sines.append((-torch.sin(step * k[1:, None] * k[1:]) * scale).to(dtype))
        factors.append(2 * torch.sin(step / 2 * k))
    down, across = torch.meshgrid(*factors, indexing='ij')
    return Basis(
        tuple(cosines),
        tuple(sines),
        (down.square() + across.square()).to(dtype),
        torch.atan2(down, across).to(dtype),
    )


def transform(maps: Tensor) -> Tensor:
    """Return the orthonormal DCT-II of maps (..., H, W).

    Example:
        >>> transform(torch.ones(2, 2)).round()
        tensor([[2., 0.],
                [0., 0.]])
    """
    down, across = basis_of(maps).cosines
    return down @ maps @ across.t()


@cached(maxsize=32)
def band_factors(
    size: tuple[int, int],
    weights: tuple[float, ...],
    dtype: torch.dtype,
    device: torch.device,
    exponent: float = 0.0,
    permutation: int | None = None,
) -> Tensor:
    """Return weight * eigenvalue^exponent of each frequency in its band, else 0: (B, H, W).

    The bands cut the frequency, the root of the eigenvalue over its upper bound of 8, into equal
    parts. For a negative exponent the factor of eigenvalue 0 is 0.

    Args:
        size: Height and width of the grid.
        weights: A weight for each band, from low to high frequencies.
        dtype: Of the factors.
        device: Of the factors.
        exponent: Exponent of the eigenvalues.
        permutation: Seed of a permutation of all eigenvalues but the first.

    Example:
        >>> band_factors((1, 3), (1.0, 2.0), torch.float32, torch.device('cpu')).sum(dim=0)
        tensor([[1., 1., 2.]])
    """
    eigenvalues = _basis(*size, torch.float64, torch.device('cpu')).eigenvalues.flatten()
    if permutation is not None:
        generator = torch.Generator().manual_seed(permutation)
        order = torch.randperm(len(eigenvalues) - 1, generator=generator)
        eigenvalues = torch.cat([eigenvalues[:1], eigenvalues[1:][order]])
    powers = torch.where((eigenvalues == 0) & (exponent < 0), 0, eigenvalues**exponent)
    # A frequency on the border of two bands is in the upper one, however it is rounded.
    band = ((eigenvalues / 8).sqrt() * len(weights) + 1e-9).long().clamp(max=len(weights) - 1)
    factors = [beta * powers * (band == b) for b, beta in enumerate(weights)]
    return torch.stack(factors).view(-1, *size).to(device, dtype)


class Spectrum(NamedTuple):
    """The coefficients of the two parts of a flow by frequency. Their squares sum to its energy.

    Attributes:
        gradient: (..., H, W); [0, 0] is 0.
        curl: (..., H, W); row 0 and column 0 are 0.
    """

    gradient: Tensor
    curl: Tensor


def spectrum_of(flow: Flow, angle: Tensor | None = None) -> Spectrum:
    """Decompose a flow on a full grid.

    Args:
        flow: The flow along the edges of maps (..., H, W).
        angle: Angles by frequency (H, W) that split it differently, into two orthogonal parts of
            the same ranks. Row 0 and column 0, which are pure gradient, are not read.

    Example:
        >>> spectrum_of(calculus.gradient(torch.rand(4, 5))).curl.abs().max() < 1e-6
        tensor(True)
    """
    basis = _flow_basis(flow)
    x = basis.cosines[0] @ flow.x @ basis.sines[1].t()
    y = basis.sines[0] @ flow.y @ basis.cosines[1].t()
    # Frequency 0 has no differences.
    x, y = F.pad(x, (1, 0)), F.pad(y, (0, 0, 1, 0))
    own = basis.angle
    if angle is not None:
        own = F.pad(angle[1:, 1:] - own[1:, 1:], (1, 0, 1, 0)) + own
    cos, sin = own.cos(), own.sin()
    return Spectrum(cos * x + sin * y, cos * y - sin * x)


def _flow_basis(flow: Flow) -> Basis:
    return _basis(flow.x.shape[-2], flow.y.shape[-1], flow.x.dtype, flow.x.device)


class Split(NamedTuple):
    """The orthogonal parts of a flow, which sum to it.

    Attributes:
        gradient: The gradient of a potential; it has no curl.
        curl: The part that circulates around faces; it has no divergence.
        harmonic: The part with neither, which runs around holes.
    """

    gradient: Flow
    curl: Flow
    harmonic: Flow


@torch.no_grad()
def split_masked(flow: Flow, valid: Tensor, iterations: int = ITERATIONS) -> Split:
    """Split the flow between valid pixels into its gradient, curl and harmonic part.

    Conjugate gradients find the potentials, preconditioned with the solution of the full grid. The
    parts are constants: no gradient passes back to the flow.

    Args:
        flow: The flow along the edges of maps (..., H, W).
        valid: Booleans that broadcast to (..., H, W). Edges and faces at other pixels are left out.
        iterations: Number of iterations.
    """
    edges = Flow(*(mask.to(flow.x.dtype) for mask in calculus.valid_edges(valid)))
    faces = calculus.valid_faces(valid).to(flow.x.dtype)
    flow, basis = flow * edges, _flow_basis(flow)
    # The potential is defined up to a constant, of frequency 0.
    inverse = (1 / basis.eigenvalues).masked_fill(basis.eigenvalues == 0, 0)
    gradient_part = _project(
        flow,
        lambda flow: -calculus.divergence(flow),
        lambda potential: calculus.gradient(potential) * edges,
        lambda residual: _filter(residual, basis.cosines, inverse),
        iterations,
    )
    curl_part = _project(
        flow,
        lambda flow: calculus.curl(flow) * faces,
        calculus.rotation,
        lambda residual: _filter(residual, basis.sines, inverse[1:, 1:]) * faces,
        iterations,
    )
    return Split(gradient_part, curl_part, flow - gradient_part - curl_part)


def _project(
    flow: Flow,
    boundary: Callable[[Flow], Tensor],
    transpose: Callable[[Tensor], Flow],
    precondition: Callable[[Tensor], Tensor],
    iterations: int,
) -> Flow:
    """Project flows onto the image of `transpose`, by preconditioned conjugate gradients.

    The steps solve boundary(transpose(x)) = boundary(flow) for each map. `product` estimates the
    energy of the rest of a flow. Once it is below the rounding error, further steps would amplify
    noise.
    """
    residual = boundary(flow)
    x = torch.zeros_like(residual)
    direction = z = precondition(residual)
    product = _dot(residual, z)
    least = flow.energy()[..., None, None] * (16 * torch.finfo(residual.dtype).eps) ** 2
    for _ in range(iterations):
        image = boundary(transpose(direction))
        step = torch.where(product > least, product / _dot(direction, image), 0)
        x, residual = x + step * direction, residual - step * image
        z = precondition(residual)
        previous, product = product, _dot(residual, z)
        direction = z + torch.where(product > least, product / previous, 0) * direction
    return transpose(x)


def _filter(maps: Tensor, bases: tuple[Tensor, Tensor], factors: Tensor) -> Tensor:
    """Multiply the frequencies of maps (..., H, W) with factors (H, W)."""
    down, across = bases
    return down.t() @ (factors * (down @ maps @ across.t())) @ across


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(-2, -1), keepdim=True)
