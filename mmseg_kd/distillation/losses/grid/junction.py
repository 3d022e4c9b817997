"""Distillation of where several classes meet."""

from __future__ import annotations

from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.grid.calculus import structure_tensor, valid_faces
from mmseg_kd.distillation.losses.logits.temperature import TemperatureLoss
from mmseg_kd.distillation.maps import mean_of_valid

# Junction energies below this share of the teacher's mean trace hardly count. It is above the
# rounding of a determinant in float32.
SMALLEST_SHARE = 1e-2
# A teacher without edges has no mean trace: what its edges would have at least.
SMALLEST_TRACE = 1e-6


@MODELS.register_module()
class JunctionLoss(TemperatureLoss):
    r"""Distance of the junction energies: where three or more classes meet, and how sharply.

    With :math:`p = \mathrm{softmax}_k(z / T)`, its differences :math:`\nabla p_k` averaged over
    the parallel edges of a face (the square between four pixels), and the 2x2 structure tensor
    :math:`J = \sum_k \nabla p_k \nabla p_k^\top`:

    .. math:: L = \frac{1}{|V|} \sum_{f \in V} \big(\sqrt{\det J^S_f + e^2} -
              \sqrt{\det J^T_f + e^2}\big)^2

    with V the faces without a void corner, and e 1 % of the mean of :math:`\mathrm{tr} J^T` over V.
    The gradients of two classes alone are opposite, so det J is 0 along the edge between two
    classes and above 0 at a junction: 4 det J is the summed squared curl of the flows
    :math:`p_a \wedge p_b` of all pairs of classes.

    Cost: that of a few maps of differences, without a loop over the pairs of classes.

    Source: the structure tensor of several channels is that of Di Zenzo, A Note on the Gradient of
    a Multi-image, CVGIP 1986, https://doi.org/10.1016/0734-189X(86)90223-9.

    Config: ``dict(type='JunctionLoss', loss_weight=dict(type='GradientShare', share=0.1))``. With
    weight 1 it has hardly any gradient, because few faces are junctions.

    Shapes: student maps (N, C, H, W); teacher maps (N, C', H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest). Channels may
    differ.

    Args:
        temperature: T, above 0: a number or a schedule. 1 gives the predicted probabilities.
        reduction: 'mean' as above.
        ignore_index: Label of void pixels; None keeps every face.
        stages: Taps to compare, summed over; the logits by default.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> student, teacher = torch.rand(2, 2, 8, 8), torch.rand(2, 2, 4, 4)
        >>> JunctionLoss()(student, teacher) < 1e-6
        tensor(True)
    """

    of_classes = True

    def __init__(self, temperature: float | dict = 1.0, **kwargs: Any) -> None:
        super().__init__(temperature, **kwargs)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        faces = valid_faces(self.valid(target, student))
        xx, xy, yy = self._tensor(student, faces)
        t_xx, t_xy, t_yy = self._tensor(teacher, faces)
        e = SMALLEST_SHARE * (mean_of_valid(t_xx + t_yy, faces) + SMALLEST_TRACE)
        ours, theirs = (
            (det.clamp(min=0) + e.square()).sqrt()
            for det in (xx * yy - xy.square(), t_xx * t_yy - t_xy.square())
        )
        return mean_of_valid((ours - theirs).square(), faces)

    def _tensor(self, logits: Tensor, faces: Tensor) -> tuple[Tensor, ...]:
        """Return the entries xx, xy and yy of the structure tensor at each face, 0 at void ones."""
        p = (logits / self.current_temperature()).softmax(dim=1)
        return tuple(entry * faces for entry in structure_tensor(p))
