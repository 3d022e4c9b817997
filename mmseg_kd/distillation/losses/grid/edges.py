"""Distillation of where edges are, which way they run, and where they meet."""

from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.grid.calculus import face_gradient, structure_tensor, valid_faces
from mmseg_kd.distillation.losses.bases import CentredLoss, TemperatureLoss
from mmseg_kd.distillation.maps import mean_of_valid

# Junction energies below this share of the teacher's mean trace, and squared differences of the
# student below this share of the teacher's mean, hardly count. It is above the rounding of a
# determinant in float32.
SMALLEST_SHARE = 1e-2
# Added to the teacher's mean trace, which is 0 if it has no edges.
SMALLEST_TRACE = 1e-6
# Added to mean squared differences, which are 0 in flat maps, before dividing by them.
SMALLEST = 1e-12


@MODELS.register_module()
class JunctionLoss(TemperatureLoss):
    r"""Distance of the junction energies: where three or more classes meet, and how sharply.

    With :math:`p = \mathrm{softmax}_k(z / T)`, its differences :math:`\nabla p_k` averaged over
    the parallel edges of a face (the square between four pixels), and the 2x2 structure tensor
    :math:`J = \sum_k \nabla p_k \nabla p_k^\top`:

    .. math:: L = \frac{1}{|V|} \sum_{f \in V} \Big[ \big(\sqrt{\det J^S_f + e^2} -
              \sqrt{\det J^T_f + e^2}\big)^2 + \gamma \big(\sqrt{\mathrm{tr} J^S_f + e} -
              \sqrt{\mathrm{tr} J^T_f + e}\big)^2 \Big]

    with V the faces without a void corner, and e 1 % of the mean of :math:`\mathrm{tr} J^T` over V.
    Along an edge between two classes the two gradients are opposite, so det J is 0. It is above 0
    at a junction: 4 det J is the sum of the squared curls of the flows :math:`p_a \wedge p_b` over
    all pairs of classes. The trace is large at every edge.

    With `softmax=False` the maps are features. Their J is divided by the image's mean trace. It
    is 2x2 for any number of channels, so no adapter is needed.

    Cost: a few maps of differences, without a loop over the pairs of classes.

    Source: the structure tensor of several channels is that of Di Zenzo, A Note on the Gradient of
    a Multi-image, CVGIP 1986, https://doi.org/10.1016/0734-189X(86)90223-9.

    Config: ``dict(type='JunctionLoss', loss_weight=dict(type='GradientShare', share=0.1))``. With
    weight 1 it has hardly any gradient, because few faces are junctions.

    Shapes: student maps (N, C, H, W); teacher maps (N, C', H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest). Channels may
    differ.

    Args:
        temperature: T, above 0: a number or a schedule. 1 gives the predicted probabilities.
        trace_weight: gamma, from 0. With 0 the loss ignores edges between only two classes.
        softmax: False to compare features.
        reduction: 'mean' as above.
        ignore_index: Label of void pixels; None keeps every face.
        stages: Taps to compare, summed over; the logits by default.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, a negative trace_weight, or a temperature of features.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> student, teacher = torch.rand(2, 2, 8, 8), torch.rand(2, 2, 4, 4)
        >>> JunctionLoss()(student, teacher) < 1e-6
        tensor(True)
    """

    of_classes = True

    def __init__(
        self,
        temperature: float | dict = 1.0,
        trace_weight: float = 0.0,
        softmax: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature, **kwargs)
        self.require(
            isinstance(trace_weight, int | float) and trace_weight >= 0,
            f'trace_weight={trace_weight!r} is not a number from 0',
        )
        self.require(
            softmax or self.temperature == 1,
            f'temperature={temperature!r} has no effect with softmax=False; leave it out',
        )
        self.trace_weight = trace_weight
        self.softmax = softmax

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        faces = valid_faces(self.valid(target, student))
        ours, theirs = (self._tensor(x, faces) for x in (student, teacher))
        e = SMALLEST_SHARE * (mean_of_valid(theirs[1], faces) + SMALLEST_TRACE)
        junction = (ours[0] + e.square()).sqrt() - (theirs[0] + e.square()).sqrt()
        edge = (ours[1] + e).sqrt() - (theirs[1] + e).sqrt()
        return mean_of_valid(junction.square() + self.trace_weight * edge.square(), faces)

    def _tensor(self, x: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return determinant and trace of the structure tensor at each face, 0 at void ones."""
        if self.softmax:
            x = (x / self.current_temperature()).softmax(dim=1)
        xx, xy, yy = (entry * faces for entry in structure_tensor(x))
        if not self.softmax:
            trace = (xx + yy).sum(dim=(1, 2), keepdim=True)
            scale = trace / faces.sum(dim=(1, 2), keepdim=True).clamp(min=1) + SMALLEST
            xx, xy, yy = xx / scale, xy / scale, yy / scale
        return (xx * yy - xy.square()).clamp(min=0), xx + yy


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
    at equality and 1 for a flat student. It compares the place and direction of edges, where the
    teacher has them. The height and sign of the student's edges hardly matter.

    Logits are centred over the classes first, because the softmax does not depend on their mean.
    An image with a flat teacher counts at most 0.01, a wholly void one 0.

    Cost: a few maps of differences.

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
        # Multiplied before it is squared: the squares alone could leave float32.
        inverse = (s_x.square() + s_y.square() + e).rsqrt()
        distance = (wedge * inverse).square()
        for part in (d_x, d_y):
            distance = distance + (e.sqrt() * (part * inverse)).square()
        return (distance * faces / (count * energy)).sum() / len(student)
