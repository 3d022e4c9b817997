"""The contract of a distillation loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_kd.distillation.controls import CONTROLS, controlled
from mmseg_kd.distillation.maps import class_logits, resize_map, valid_pixels
from mmseg_kd.distillation.schedules import Schedule, scheduled, unnested, value_at

# Maps are clamped to this magnitude: float32 can sum a hundred million squares of this size.
LARGEST = 1e15
# A map (N, C, H, W) for each stage, or a single one.
Stages = list[Tensor]
Maps = Tensor | Sequence[Tensor]
# Attributes of a loss that are not settings.
STATE = ('training', 'iteration', 'zero_at_equality', 'of_classes', 'equal_channels')


class KDLoss(nn.Module):
    """A distillation loss: two taps in, a scalar out.

    Every loss is computed in float32 also under autocast (float64 stays), is finite for every
    finite input, and is zero where the student equals the teacher, unless it sets
    `zero_at_equality = False`. No gradient reaches the teacher.

    A new loss implements `compare`, or `distance`, which gets all taps at once, and is registered
    with `@MODELS.register_module()` (docs/adding_a_loss.md).

    Args:
        reduction: Name of the reduction, one of the class' `reductions`; the first by default.
        stages: The student's taps that the loss reads (see `mmseg_kd.distillation.taps`); the
            class' `default_stages` by default.
        loss_weight: Factor of the loss: a number, a schedule or a `GradientShare`.
        teacher_stages: Names of the teacher's taps, where they differ.
        teacher: With several teachers: the name of one, or weights by name. The losses of the
            teachers are summed; by default all have equal weights that add up to 1.
        control: Replaces the teacher, to measure how much of a gain comes from it:
            'other_image' or 'labels', see `mmseg_kd.distillation.controls`.
        ignore_index: Label of void pixels; None keeps every pixel.

    Raises:
        ValueError: On an unknown reduction or control, a weight that is neither a finite number
            from 0 nor a schedule, tap lists that are empty, of different length or too long, or an
            ignore_index for a loss that compares whole maps.
    """

    reductions: tuple[str, ...] = ('mean',)
    default_stages: str | tuple[str, ...] = 'stage4'
    # Whether the loss compares a single tap.
    one_tap = False
    # Whether student and teacher must have equal channels at a tap.
    equal_channels = False
    # Whether a tap must have one channel per class. The single channel of a sigmoid becomes two.
    of_classes = False
    # Whether the loss cannot be computed without labels.
    needs_labels = False
    # Whether maps are compared as wholes: the teacher's keep their size, and void pixels count.
    whole_maps = False
    # Whether the loss is 0 where student equals teacher. False if a trained map is between them.
    zero_at_equality = True

    def __init__(
        self,
        reduction: str | None = None,
        stages: Sequence[str] | str | None = None,
        loss_weight: float | dict = 1.0,
        teacher_stages: Sequence[str] | str | None = None,
        teacher: str | dict[str, float] | None = None,
        control: str | None = None,
        ignore_index: int | None = 255,
    ) -> None:
        super().__init__()
        known = self.reductions
        self.reduction = known[0] if reduction is None else reduction
        self.require(self.reduction in known, f'reduction={reduction!r} is not one of {known}')
        self.loss_weight = self.scheduled('loss_weight', loss_weight)
        self._shares = any(hasattr(each, 'share') for each in unnested(self.loss_weight))
        self.require(
            unnested(self.loss_weight)[-1] >= 0,
            f'{loss_weight=} is negative: it would push the student away from its teacher',
        )
        weights = {teacher: 1.0} if isinstance(teacher, str) else teacher
        self.require(
            isinstance(weights, dict | None)
            and all(isinstance(x, int | float) and x >= 0 for x in (weights or {}).values()),
            f"{teacher=} is neither a teacher's name nor a dict of weights (0 or more) by name",
        )
        self.teacher_weights = weights
        self.require(
            not self.whole_maps or ignore_index == 255,
            f'ignore_index={ignore_index!r} has no effect, because it compares whole maps',
        )
        self.require(isinstance(ignore_index, int | None), f'{ignore_index=} is not one label')
        self.ignore_index = ignore_index
        self.iteration = 0
        # Scheduled settings as tensors: a CUDA graph records numbers as constants.
        self._tensors: dict[str, Tensor] = {}
        self.stages = self._names('stages', self.default_stages if stages is None else stages)
        theirs = self.stages if teacher_stages is None else teacher_stages
        self.teacher_stages = self._names('teacher_stages', theirs)
        self.require(not self.one_tap or len(self.stages) == 1, f'reads one tap, not {self.stages}')
        self.require(
            len(self.stages) == len(self.teacher_stages),
            f'stages has {len(self.stages)} names, teacher_stages {len(self.teacher_stages)}; they '
            'are compared one to one',
        )
        self.require(control in CONTROLS, f'control={control!r} is not one of {CONTROLS}')
        self.require(
            control != 'labels' or self.stages == ('logits',),
            f"control='labels' needs a loss that reads only the logits, not {self.stages}",
        )
        self.control = control
        self.zero_at_equality = self.zero_at_equality and control is None

    def require(self, met: bool, message: str) -> None:
        """Raise ValueError with the name of the loss and a message if a requirement is not met."""
        if not met:
            raise ValueError(f'{type(self).__name__}: {message}')

    def scheduled(self, name: str, value: Any) -> float | Schedule:
        """Return the value of a setting, a number or a schedule; ValueError if it is neither."""
        try:
            return scheduled(value)
        except ValueError as error:
            raise ValueError(f'{type(self).__name__}: {name}={error}') from error

    def _names(self, key: str, stages: Sequence[str] | str) -> tuple[str, ...]:
        names = (stages,) if isinstance(stages, str) else stages
        self.require(
            isinstance(names, Sequence) and bool(names) and all(isinstance(x, str) for x in names),
            f"{key}={stages!r} is not a tap or a list of taps, such as ['stage3']",
        )
        return tuple(names)

    @property
    def weight(self) -> float:
        """Factor of the loss in the current iteration."""
        return value_at(self.loss_weight, self.iteration)

    def number(self, name: str) -> float | Tensor:
        """Return the value of a setting, such as `loss_weight`, in the current iteration.

        Args:
            name: Name of an attribute that is a number or a `Schedule`.

        Returns:
            A number; for a `Schedule` a tensor after `put_numbers_on`.
        """
        if name in self._tensors:
            return self._tensors[name]
        return value_at(getattr(self, name), self.iteration)

    def set_iteration(self, iteration: int) -> None:
        """Set the iteration, counted from 0, for the schedules."""
        self.iteration = iteration
        for name, tensor in self._tensors.items():
            tensor.fill_(value_at(getattr(self, name), iteration))

    def put_numbers_on(self, device: torch.device) -> None:
        """Keep scheduled settings in tensors on a device; `set_iteration` fills them."""
        for name, value in vars(self).items():
            if isinstance(value, Schedule):
                self._tensors[name] = torch.empty((), device=device)
        self.set_iteration(self.iteration)

    def valid(self, target: Tensor | None, like: Tensor) -> Tensor:
        """Return which pixels of maps (N, C, H, W) are not void, as booleans (N, H, W).

        Args:
            target: Labels (N, H', W'); without them all pixels count.
            like: The maps.
        """
        return valid_pixels(target, like, self.ignore_index)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the unweighted loss of one pair of maps, a scalar, in full precision.

        Args:
            student: The student's map (N, C, H, W).
            teacher: The teacher's map, resized to (N, C', H, W) unless `whole_maps`.
            target: Labels (N, H'', W'') or None.
        """
        raise NotImplementedError(f'{type(self).__name__} implements neither compare nor distance')

    def distance(self, student: Stages, teacher: Stages, target: Tensor | None) -> Tensor:
        """Compute the unweighted loss from the maps of all stages: the sum of `compare`."""
        values = [
            self.compare(s, t if self.whole_maps else resize_map(t, s.shape[2:]), target)
            for s, t in zip(student, teacher, strict=True)
        ]
        return values[0] if len(values) == 1 else sum(values)

    def raw(self, student: Maps, teacher: Maps, target: Tensor | None = None) -> Tensor:
        """Compute the loss without its weight; arguments and errors as for `forward`."""
        student, teacher = ([x] if isinstance(x, Tensor) else list(x) for x in (student, teacher))
        for whose, maps in (('student', student), ('teacher', teacher)):
            for x in maps:
                self.require(
                    x.ndim == 4,
                    f'a {whose} tap of shape {tuple(x.shape)} is not a map (N, C, H, W); choose '
                    'another tap (python tools/misc/list_taps.py CONFIG lists them)',
                )
        self.require(
            len(student) == len(teacher) and (len(student) == 1 or not self.one_tap),
            f'gets {len(student)} maps of the student and {len(teacher)} of the teacher for '
            f'{self.stages}',
        )
        self.require(target is not None or not self.needs_labels, 'needs labels: give a target')
        sizes = [len(x) for x in (*student, *teacher, *([] if target is None else [target]))]
        self.require(all(n == sizes[0] for n in sizes), f'maps and labels: batches of {sizes}')
        if self.of_classes:
            student, teacher = ([class_logits(x) for x in maps] for maps in (student, teacher))
        teacher = controlled(self.control, student, teacher, target)
        for tap, s, t in zip(self.stages, student, teacher, strict=False):
            self.require(
                not self.equal_channels or s.shape[1] == t.shape[1],
                f'at tap {tap!r} the student has {s.shape[1]} channels, the teacher {t.shape[1]}: '
                'choose taps with equal channels, such as logits, or FitNetLoss, which adapts them',
            )
        with torch.autocast(student[0].device.type, enabled=False):
            student = [_full_precision(x) for x in student]
            teacher = [_full_precision(x.detach()) for x in teacher]
            return self.distance(student, teacher, target)

    def forward(self, student: Maps, teacher: Maps, target: Tensor | None = None) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: The student's tap(s), maps (N, C, H, W).
            teacher: The teacher's tap(s), maps (N, C', H', W').
            target: Labels (N, H'', W''). Without them no pixel is void; a loss with `needs_labels`
                refuses None.

        Returns:
            A scalar, `weight` times the raw loss.

        Raises:
            ValueError: A tap is not a map; student, teacher and labels differ in the number of taps
                or of images, or in channels where the loss needs equal ones; labels that it needs
                are missing; or the weight is a `GradientShare`, which only `KDEncoderDecoder`
                measures.
        """
        self.require(not self._shares, 'GradientShare needs KDEncoderDecoder; give a number')
        return self.weight * self.raw(student, teacher, target)

    def extra_repr(self) -> str:
        """Return the settings as text, for the printed model."""
        names = [name for name in vars(self) if name not in STATE and not name.startswith('_')]
        values = {name: getattr(self, name) for name in names}
        return ', '.join(f'{name}={value!r}' for name, value in values.items() if value is not None)


def log_names(name: str) -> tuple[str, str]:
    """Return the names under which the weighted and the raw value of a loss are logged.

    mmengine backpropagates every value with 'loss' in its name, so the weighted one must have it
    and the raw one must not.

    Example:
        >>> log_names('kl_loss'), log_names('cwd')
        (('kl_loss', 'kl_raw'), ('cwd_loss', 'cwd_raw'))
    """
    stem = name.replace('loss', '').strip('_') or 'kd'
    return (name if 'loss' in name else f'{name}_loss'), f'{stem}_raw'


def _full_precision(x: Tensor) -> Tensor:
    x = x if x.dtype == torch.float64 else x.float()
    return x.clamp(-LARGEST, LARGEST)
