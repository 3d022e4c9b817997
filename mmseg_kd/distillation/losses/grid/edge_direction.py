"""Distillation of where edges are and which way they run."""

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.grid.calculus import face_gradient, valid_faces
from mmseg_kd.distillation.losses.grid.centred import CentredLoss

# Squared differences of the student below this share of the teacher's mean hardly count.
SMALLEST_SHARE = 1e-2
# Added to squared differences, so that a flat teacher has no direction.
SMALLEST = 1e-12


@MODELS.register_module()
class EdgeDirectionLoss(CentredLoss):
    r"""One minus the squared cosine of the angle between the gradients of student and teacher.

    With :math:`t = \nabla z^T` and :math:`s = \nabla z^S` the differences of a channel at each
    face (the square between four pixels), :math:`t \wedge s = t_x s_y - t_y s_x`, and
    :math:`\overline{\,\cdot\,}` the mean over the channels and the faces of an image without a
    void corner:

    .. math:: L = \frac{1}{N} \sum_n \frac{1}{\overline{|t|^2}} \,
              \overline{\left( \frac{(t \wedge s)^2 + e |t - s|^2}{|s|^2 + e} \right)},
              \quad e = 0.01 \, \overline{|t|^2}

    which is the mean of :math:`|t|^2 (1 - \cos^2)` where the student has edges. It is exactly 0
    at equality and 1 for a flat student. The teacher's edges decide where it counts. Their height
    hardly matters, nor does the sign of the student's: it is where an edge runs, and which way.

    Logits are centred over the classes first, because the softmax does not depend on their mean.
    An image with a flat teacher counts at most 0.01, a wholly void one 0.

    Cost: that of a few maps of differences.

    Source: normalised gradient fields, Haber and Modersitzki, Intensity Gradient Based
    Registration and Fusion of Multi-modal Images, MICCAI 2006,
    https://doi.org/10.1007/11866763_89, here between two networks and weighted by the teacher.

    Config: ``dict(type='EdgeDirectionLoss', loss_weight=1.0)``

    Shapes: student maps (N, C, H, W); teacher maps (N, C, H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest).

    Args:
        reduction: 'mean' as above.
        **kwargs: `centre` (False for features), `ignore_index`, `stages`, `loss_weight`,
            `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On different channel counts.

    Example:
        >>> value = EdgeDirectionLoss()(torch.zeros(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
        >>> round(float(value), 3)
        1.0
    """

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        faces = valid_faces(self.valid(target, student))[:, None].to(student.dtype)
        count = (faces.sum(dim=(1, 2, 3)) * student.shape[1]).clamp(min=1)[:, None, None, None]
        s_x, s_y = face_gradient(self.centred(student))
        t_x, t_y = face_gradient(self.centred(teacher))
        energy = ((t_x.square() + t_y.square()) * faces / count).sum((1, 2, 3), keepdim=True)
        energy = energy + SMALLEST
        e = SMALLEST_SHARE * energy
        d_x, d_y = s_x - t_x, s_y - t_y
        # The wedge of t and s - t is that of t and s, and exactly 0 where s equals t.
        wedge = t_x * d_y - t_y * d_x
        # Each factor before its square, which would leave float32.
        inverse = (s_x.square() + s_y.square() + e).rsqrt()
        distance = (wedge * inverse).square()
        for part in (d_x, d_y):
            distance = distance + (e.sqrt() * (part * inverse)).square()
        return (distance * faces / (count * energy)).sum() / len(student)
