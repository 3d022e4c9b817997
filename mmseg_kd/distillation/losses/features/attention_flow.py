"""Distillation of the exact and the cyclic part of the attention's antisymmetric half."""

from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss

# Added to the teacher's energy for each token and head, which is 0.003 to 0.2 for MiT-B0 and B2
# after 300 iterations on generated scenes.
EPS = 1e-6


@MODELS.register_module()
class AttentionFlowLoss(KDLoss):
    r"""Compare which way attention flows, in its exact and its cyclic part.

    The flow from token i to token j is the antisymmetric half of a head's attention matrix A, which
    is (L, L). It splits like an edge flow on the complete graph of the tokens (Jiang et al.,
    Statistical Ranking and Combinatorial Hodge Theory, Math. Programming 2011,
    https://arxiv.org/abs/0811.1067; as a loss it has not been published):

    .. math:: K = \tfrac{1}{2} (A - A^\top), \quad m_i = \frac{1}{L} \sum_j K_{ij}, \quad
              G_{ij} = m_i - m_j, \quad C = K - G

    G is the gradient of a score m per token: how much more a token attends than it is attended to.
    C is the rest, which runs in cycles. G and C are orthogonal, so that with equal weights and
    without the normalisation this loss is the squared error of K. With e the energy of the
    teacher's part, summed over the heads of an image:

    .. math:: L = w_G \frac{\lVert G^S - G^T \rVert^2}{e(G^T)}
                + w_C \frac{\lVert C^S - C^T \rVert^2}{e(C^T)}

    averaged over the images. Each fraction is 1 if the student has no flow. Heads are compared one
    to one if student and teacher have equally many, otherwise the means over the heads.

    Config: ``dict(type='AttentionFlowLoss', loss_weight=1.0)``

    Shapes: student (N, heads, L, L), teacher (N, heads', L, L) of the tap `stage4.attention`, which
    only `MixTransformer` has; L is the number of places of stage 4. Void pixels count. Costs a few
    passes over N * heads * L * L numbers.

    Args:
        exact_weight: w_G, from 0.
        cyclic_weight: w_C, from 0; one of the two is above 0.
        permute_heads: Compare each head with the teacher's head before it: a control, which has
            the teacher's flows in the wrong heads.
        **kwargs: `loss_weight`, `stages`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On weights that are negative or both 0. From a call, if a tap is not an
            attention matrix, student and teacher have different L, or `permute_heads` has no heads
            to permute.

    Example:
        >>> student, teacher = torch.eye(4).expand(2, 2, 8, 4, 4)
        >>> AttentionFlowLoss()(student, teacher)
        tensor(0.)
    """

    default_stages = 'stage4.attention'
    whole_maps = True

    def __init__(
        self,
        exact_weight: float = 1.0,
        cyclic_weight: float = 1.0,
        permute_heads: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.require(
            min(exact_weight, cyclic_weight) >= 0 < max(exact_weight, cyclic_weight),
            f'{exact_weight=} and {cyclic_weight=} must be at least 0, and one of them above 0',
        )
        self.exact_weight, self.cyclic_weight = exact_weight, cyclic_weight
        self.permute_heads = permute_heads
        self.zero_at_equality = self.zero_at_equality and not permute_heads

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of matrices, a scalar."""
        for whose, x in (('student', student), ('teacher', teacher)):
            self.require(
                x.shape[2] == x.shape[3],
                f"the {whose}'s tap of shape {tuple(x.shape)} is not a square attention matrix "
                '(N, heads, L, L): write stage4.attention',
            )
        self.require(
            student.shape[2] == teacher.shape[2],
            f'the student attends over {student.shape[2]} tokens, the teacher over '
            f'{teacher.shape[2]}: choose backbones whose stages have equal strides',
        )
        self.require(
            not self.permute_heads or student.shape[1] == teacher.shape[1] > 1,
            f'permute_heads needs equally many heads, more than 1, not {student.shape[1]} of the '
            f'student and {teacher.shape[1]} of the teacher',
        )
        if student.shape[1] != teacher.shape[1]:
            student, teacher = (x.mean(dim=1, keepdim=True) for x in (student, teacher))
        if self.permute_heads:
            teacher = teacher.roll(1, dims=1)
        ours, theirs = flow_parts(student), flow_parts(teacher)
        weights = (self.exact_weight, self.cyclic_weight)
        return sum(
            weight * (_energy(s - t) / (_energy(t) + EPS)).mean()
            for weight, s, t in zip(weights, ours, theirs, strict=True)
            if weight
        )


def flow_parts(attention: Tensor) -> tuple[Tensor, Tensor]:
    """Split the antisymmetric half of matrices (..., L, L) into its exact and its cyclic part.

    Example:
        >>> exact, cyclic = flow_parts(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        >>> exact
        tensor([[ 0.0000,  0.5000],
                [-0.5000,  0.0000]])
        >>> cyclic.abs().sum()
        tensor(0.)
    """
    flow = (attention - attention.transpose(-1, -2)) / 2
    score = flow.mean(dim=-1, keepdim=True)
    exact = score - score.transpose(-1, -2)
    return exact, flow - exact


def _energy(flow: Tensor) -> Tensor:
    """Return the squares of flows (N, heads, L, L), summed over j and averaged over i and heads."""
    return flow.square().sum(dim=-1).mean(dim=(1, 2))
