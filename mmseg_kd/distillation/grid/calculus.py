r"""Gradient, curl and divergence on the pixel grid.

The pixels of a map (..., H, W) are the nodes of a grid. A flow has a number for each edge between
two neighbours, and a curl for each face, the square between four of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Flow(NamedTuple):
    """A number for each edge of the grid, positive to the right and downwards.

    Attributes:
        x: Edges (..., H, W-1) to the right neighbour.
        y: Edges (..., H-1, W) to the neighbour below.
    """

    x: Tensor
    y: Tensor

    def __sub__(self, other: Flow) -> Flow:
        return Flow(self.x - other.x, self.y - other.y)

    def __mul__(self, factor: Flow) -> Flow:  # type: ignore[override]
        return Flow(self.x * factor.x, self.y * factor.y)

    def energy(self) -> Tensor:
        """Return the sum of squares over the edges, (...)."""
        return sum(part.square().sum(dim=(-2, -1)) for part in self)


def gradient(potential: Tensor) -> Flow:
    """Return the differences of a map (..., H, W) along the edges.

    Example:
        >>> gradient(torch.tensor([[0.0, 1.0, 3.0]])).x
        tensor([[1., 2.]])
    """
    return Flow(potential.diff(dim=-1), potential.diff(dim=-2))


def divergence(flow: Flow) -> Tensor:
    """Return the outflow of each node (..., H, W): minus the transpose of `gradient`.

    Example:
        >>> divergence(Flow(torch.tensor([[1.0, 1.0]]), torch.zeros(0, 3)))
        tensor([[ 1.,  0., -1.]])
    """
    return F.pad(flow.x, (1, 1)).diff(dim=-1) + F.pad(flow.y, (0, 0, 1, 1)).diff(dim=-2)


def curl(flow: Flow) -> Tensor:
    """Return the sum of a flow around each face (..., H-1, W-1).

    Example:
        >>> curl(gradient(torch.rand(4, 5))).abs().max() < 1e-6
        tensor(True)
    """
    return flow.y.diff(dim=-1) - flow.x.diff(dim=-2)


def rotation(stream: Tensor) -> Flow:
    """Return the flow that circulates around faces, from strengths (..., H-1, W-1).

    It is the transpose of `curl`.

    Example:
        >>> rotation(torch.ones(1, 1)).y
        tensor([[-1.,  1.]])
    """
    return Flow(F.pad(stream, (0, 0, 1, 1)).diff(dim=-2), -F.pad(stream, (1, 1)).diff(dim=-1))


def pair_flow(a: Tensor, b: Tensor) -> Flow:
    """Return the flow a_i b_j - b_i a_j along the edges i to j of two maps (..., H, W).

    It is the antisymmetric product of two maps. Unlike the gradient of one map it has a curl. The
    curl is 0 where b is an affine function of a, as for the probabilities of two classes.

    Example:
        >>> flow = pair_flow(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        >>> flow.x
        tensor([[1.]])
    """
    return Flow(
        a[..., :-1] * b[..., 1:] - b[..., :-1] * a[..., 1:],
        a[..., :-1, :] * b[..., 1:, :] - b[..., :-1, :] * a[..., 1:, :],
    )


def structure_tensor(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum over channels of the products of the differences at each face.

    The differences are averaged over the two parallel edges of a face. The determinant is then
    exactly a quarter of the squared curls of `pair_flow`, summed over all pairs of channels.

    Args:
        maps: Maps (N, C, H, W).

    Returns:
        The entries xx, xy and yy, each (N, H-1, W-1).
    """
    x, y = face_gradient(maps)
    return x.square().sum(dim=1), (x * y).sum(dim=1), y.square().sum(dim=1)


def face_gradient(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences (..., H-1, W-1) to the right and downwards at each face.

    Example:
        >>> face_gradient(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
        (tensor([[2.]]), tensor([[1.]]))
    """
    flow = gradient(maps)
    return (flow.x[..., :-1, :] + flow.x[..., 1:, :]) / 2, (flow.y[..., :-1] + flow.y[..., 1:]) / 2


def valid_edges(valid: Tensor) -> Flow:
    """Return the edges whose two nodes are valid; booleans, from booleans (..., H, W)."""
    return Flow(valid[..., :-1] & valid[..., 1:], valid[..., :-1, :] & valid[..., 1:, :])


def valid_faces(valid: Tensor) -> Tensor:
    """Return the faces whose four corners are valid, (..., H-1, W-1)."""
    across = valid[..., :-1] & valid[..., 1:]
    return across[..., :-1, :] & across[..., 1:, :]
