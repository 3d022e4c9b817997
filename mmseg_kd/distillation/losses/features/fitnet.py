"""Distillation of features through a trained adapter."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.distillation.base import LARGEST, KDLoss, Stages
from mmseg_kd.distillation.maps import mean_of_valid
from mmseg_kd.errors import UserError


# Configs of earlier versions have the second name.
@MODELS.register_module(name=['FitNetLoss', 'FitNet'])
class FitNetLoss(KDLoss):
    r"""Distance between the teacher's features and the student's, brought to its channels.

    Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015,
    https://arxiv.org/abs/1412.6550. With r a 1x1 convolution for each stage, trained with the
    student, and V the pixels that are not void:

    =========== =====================================================================
    'mean'      :math:`\frac{1}{|V| C'} \sum_{i \in V} \lVert r(F^S)_i - F^T_i \rVert^2`
    'cosine'    :math:`\frac{1}{|V|} \sum_{i \in V} (1 - \cos(r(F^S)_i, F^T_i))`
    =========== =====================================================================

    summed over the stages. 'mean' grows with the square of the teacher's features, 'cosine' is 0
    to 2 at any scale. It is computed as half the squared difference of the unit vectors, and is 1/2
    where one of them is zero. The loss is 0 where r(F^S) equals F^T: where student equals teacher,
    if r is the identity, which it is not at the start.

    Config: ``dict(type='FitNetLoss', student_channels=256, teacher_channels=512)``

    Shapes: student maps (N, C, H, W); teacher maps (N, C', H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest).

    Args:
        student_channels: C, for every stage or a list with one entry per stage.
        teacher_channels: C', likewise.
        reduction: One of the table's names.
        ignore_index: Label of void pixels, which are left out; None keeps every pixel.
        stages: Taps to compare.
        seed: Seed of the adapters' initial weights. torch's own random stream is not used: the
            student starts the same with and without this loss.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On an unknown reduction, or channels that are not above 0 for each stage.
        UserError: When a tap has other channels than the config says.

    Example:
        >>> loss = FitNetLoss(student_channels=32, teacher_channels=64)
        >>> student, teacher = torch.ones(2, 32, 8, 8), torch.ones(2, 64, 8, 8)
        >>> loss(student, teacher).requires_grad
        True
    """

    reductions = ('mean', 'cosine')

    def __init__(
        self,
        student_channels: int | Sequence[int],
        teacher_channels: int | Sequence[int],
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.student_channels = self._per_stage('student_channels', student_channels)
        self.teacher_channels = self._per_stage('teacher_channels', teacher_channels)
        with own_random_stream(seed):
            self.adapters = nn.ModuleList(
                nn.Conv2d(s, t, kernel_size=1, device='cpu')
                for s, t in zip(self.student_channels, self.teacher_channels, strict=True)
            )

    def _per_stage(self, key: str, channels: int | Sequence[int]) -> list[int]:
        each = [channels] * len(self.stages) if isinstance(channels, int) else list(channels)
        self.require(
            len(each) == len(self.stages) and all(isinstance(c, int) and c > 0 for c in each),
            f'{key}={channels!r} is not a number above 0 for each of {self.stages}',
        )
        return each

    def distance(self, student: Stages, teacher: Stages, target: Tensor | None) -> Tensor:
        """Adapt the student's maps and compute the sum of `compare`."""
        self._check('stages', self.stages, 'student_channels', student)
        self._check('teacher_stages', self.teacher_stages, 'teacher_channels', teacher)
        maps = [adapted(a, s) for a, s in zip(self.adapters, student, strict=True)]
        return super().distance(maps, teacher, target)

    def _check(self, key: str, names: Sequence[str], setting: str, maps: Stages) -> None:
        found = [x.shape[1] for x in maps]
        for i, (expected, actual) in enumerate(zip(getattr(self, setting), found, strict=True)):
            if expected != actual:
                raise UserError(
                    f'{type(self).__name__}: {key}[{i}] {names[i]!r} has {actual} channels, not '
                    f'{expected}; write {setting}={found[0] if len(found) == 1 else found}'
                )

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        if self.reduction == 'mean':
            # Channels first: the sum over all elements would leave float32 earlier.
            distance = (student - teacher).square().mean(dim=1)
        else:
            # The gradient is up to 1 / eps where the features are zero.
            difference = F.normalize(student, eps=1e-6) - F.normalize(teacher, eps=1e-6)
            distance = difference.square().sum(dim=1) / 2
        return mean_of_valid(distance, self.valid(target, student))


@contextmanager
def own_random_stream(seed: int) -> Iterator[None]:
    """Seed torch's random stream of the CPU inside the context, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed the accelerators, whose streams are not put back.
        torch.default_generator.manual_seed(seed)
        yield


def adapted(adapter: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to a map (N, C, H, W) in the precision of the map."""
    # A matrix product, because cuDNN convolves float32 at the precision of TF32 by default.
    weight, bias = (p.to(x.dtype) for p in (adapter.weight.flatten(1), adapter.bias[:, None]))
    return (weight @ x.flatten(2) + bias).unflatten(2, x.shape[2:]).clamp(-LARGEST, LARGEST)
