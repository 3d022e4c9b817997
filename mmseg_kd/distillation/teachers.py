"""Teachers: frozen segmentors that return taps, and the teachers of a student by name."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor, nn

from mmseg_kd.compat import normalises, swaps_channels
from mmseg_kd.distillation.taps import STAGE, check_taps, record_taps
from mmseg_kd.errors import UserError, user_errors

DTYPES = ('float32', 'bfloat16', 'float16')


class BaseTeacher:
    """A segmentor that is not trained.

    It is frozen, always in eval mode and run without gradients. It is not an `nn.Module`: its
    weights are not in the `parameters()` and `state_dict()` of a model that holds it, nor in the
    optimizer or DDP, and `model.train()` does not change it. It moves to the device of its input.

    Args:
        segmentor: The segmentor; it is frozen.
        dtype: Precision of the teacher: 'float32', 'bfloat16' or 'float16'; None for that of the
            student. Losses are computed in float32 in any case.

    Raises:
        UserError: The dtype is not one of these.
    """

    # Whether the weights follow the student's. The first argument is then the student.
    follows_student = False
    # Where the weights come from, for the log.
    source: str

    def __init__(self, segmentor: nn.Module, dtype: str | None = None) -> None:
        if dtype not in (None, *DTYPES):
            raise UserError(f'model.teacher.dtype: {dtype!r} is not None or one of {DTYPES}')
        self.dtype = dtype and getattr(torch, dtype)
        self.segmentor = segmentor.eval().requires_grad_(False)
        # Whether student and teacher normalise images alike; found in the first batch.
        self._same_input: bool | None = None
        # A copy of a frozen segmentor with weights in the precision of autocast, by precision.
        self._cast: dict[torch.dtype, nn.Module] = {}

    def to(self, device: torch.device | str) -> BaseTeacher:
        """Move the teacher to a device; every call moves it to the device of its input."""
        if next(self.segmentor.parameters()).device != device:
            self.segmentor.to(device)
            # It stays on the device of the trial.
            self._cast.clear()
        return self

    def start(self, student: nn.Module) -> None:
        """Prepare for training, after the student's weights are loaded."""
        # The copy made when the losses were tried is not compiled.
        self._cast.clear()

    def step(self, student: nn.Module) -> None:
        """Follow the student after a step of its optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps: none for a frozen teacher."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""

    @torch.no_grad()
    def __call__(
        self, inputs: Tensor, names: Iterable[str], preprocessor: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """Run the teacher once and return its taps.

        Args:
            inputs: Images (N, 3, H, W) as the student gets them.
            names: Taps to return.
            preprocessor: The student's data preprocessor. If the teacher's normalises images
                differently, the images are normalised again for the teacher.

        Returns:
            A map (N, C, H, W) for each name, without gradients.
        """
        self.to(inputs.device)
        if preprocessor is not None and self._same_input is not True:
            own = self.segmentor.data_preprocessor
            if self._same_input is None:
                self._same_input = _normalises_alike(preprocessor, own, inputs)
            if not self._same_input:
                inputs = _renormalise(inputs, preprocessor, own)
        names = list(names)
        device, precision = inputs.device.type, nullcontext()
        if self.dtype is not None:
            precision = torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32)
        with precision:
            segmentor = self._segmentor_for(device)
            with record_taps(segmentor, names) as taps:
                if all(STAGE.match(name) or name.startswith('backbone') for name in names):
                    # No loss reads the head, so it does not run.
                    segmentor.extract_feat(inputs)
                else:
                    segmentor(inputs, mode='tensor')
        return taps

    def _segmentor_for(self, device: str) -> nn.Module:
        """Return the segmentor to run under the current autocast."""
        if self.follows_student or not torch.is_autocast_enabled(device):
            return self.segmentor
        dtype = torch.get_autocast_dtype(device)
        if dtype not in self._cast:
            # Autocast converts the weights of a frozen module again in every iteration.
            self._cast = {dtype: _with_weights_in(self.segmentor, dtype)}
        return self._cast[dtype]

    def __deepcopy__(self, memo: dict[int, Any]) -> BaseTeacher:
        # Copies of the student, such as averages, share its teachers.
        return self


def _with_weights_in(segmentor: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy whose backbone has its linear and convolution layers in `dtype`."""
    segmentor = copy.deepcopy(segmentor)
    for module in segmentor.backbone.modules():
        # Autocast computes other layers, such as norms, in float32.
        if type(module) in (nn.Linear, nn.Conv2d):
            module.to(dtype)
    return segmentor


def _normalises_alike(student: nn.Module, teacher: nn.Module, like: Tensor) -> bool:
    alike = all(map(torch.equal, _statistics(student, like), _statistics(teacher, like)))
    return alike and swaps_channels(student) == swaps_channels(teacher)


def _renormalise(inputs: Tensor, student: nn.Module, teacher: nn.Module) -> Tensor:
    """Undo the student's image normalisation and apply the teacher's; padding stays 0."""
    mean, std = _statistics(student, inputs)
    # If the student subtracts no mean, padding cannot be told from black.
    padding = ((inputs == 0) & (mean != 0)).all(dim=1, keepdim=True)
    images = inputs * std + mean
    if swaps_channels(student) != swaps_channels(teacher):
        images = images.flip(1)
    mean, std = _statistics(teacher, inputs)
    # Padding is 0 for every model, whatever its statistics.
    return ((images - mean) / std).masked_fill(padding, 0)


def _statistics(preprocessor: nn.Module, like: Tensor) -> tuple[Tensor, Tensor]:
    if not normalises(preprocessor):
        return like.new_zeros(1, 1, 1), like.new_ones(1, 1, 1)
    return preprocessor.mean.to(like), preprocessor.std.to(like)


def teachers_by_name(teacher: dict) -> dict[str, dict]:
    """Return the teachers' configs by name; a single teacher is called 'teacher'.

    Args:
        teacher: The config's `model.teacher`: one teacher, or several by name.

    Example:
        >>> teachers_by_name(dict(type='EMATeacher'))
        {'teacher': {'type': 'EMATeacher'}}
    """
    several = all(isinstance(value, dict) for value in teacher.values())
    if several and not {'type', 'config', 'checkpoint'} & set(teacher):
        return dict(teacher)
    return {'teacher': teacher}


class Teachers(dict[str, BaseTeacher]):
    """The teachers by name, empty until `build`.

    Args:
        cfgs: The teachers' configs by name.
    """

    def __init__(self, cfgs: Mapping[str, dict]) -> None:
        super().__init__()
        self.cfgs = dict(cfgs)

    def build(self, taps: Mapping[str, Iterable[str]], student: nn.Module) -> None:
        """Build the teachers that a loss reads, and check that they have its taps.

        Args:
            taps: Names of the taps that are read, by teacher.
            student: The student.

        Raises:
            UserError: A file is missing or does not fit, a tap is unknown, or a teacher has
                another number of classes than the student.
        """
        built = {n: _build(cfg, n, student) for n, cfg in self.cfgs.items() if n in taps}
        for name, teacher in built.items():
            check_taps(teacher.segmentor, taps[name], f'teacher {name}'.removesuffix(' teacher'))
        self.update(built)

    def __call__(
        self, inputs: Tensor, taps: Mapping[str, Sequence[str]], preprocessor: nn.Module
    ) -> dict[str, dict[str, Tensor]]:
        """Run each teacher in `taps` once.

        Args:
            inputs: Images (N, 3, H, W), normalised for the student.
            taps: Names of the taps to return, by teacher.
            preprocessor: The student's data preprocessor.

        Returns:
            Maps (N, C, H, W) by teacher and tap.
        """
        return {name: self[name](inputs, names, preprocessor) for name, names in taps.items()}

    def start(self, student: nn.Module) -> None:
        """Prepare the teachers for training, after the student's weights are loaded."""
        for teacher in self.values():
            teacher.start(student)

    def step(self, student: nn.Module) -> None:
        """Update the teachers after a step of the student's optimizer."""
        for teacher in self.values():
            teacher.step(student)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return the states by name of those teachers that have one."""
        return {name: state for name, teacher in self.items() if (state := teacher.state_dict())}

    def load_state_dict(self, states: Mapping[str, dict[str, Any]]) -> None:
        """Restore the states of a checkpoint.

        Raises:
            KeyError: The state of a teacher is missing.
        """
        for name, teacher in self.items():
            teacher.load_state_dict(states.get(name, {}))


def _build(cfg: dict, name: str, student: nn.Module) -> BaseTeacher:
    key = 'model.teacher.' if name == 'teacher' else f'model.teacher.{name}.'
    kind = cfg.get('type', 'Teacher')
    # Registry.build would build the model dict in `config` first.
    cls = TASK_UTILS.get(kind)
    if not (isinstance(cls, type) and issubclass(cls, BaseTeacher)):
        raise UserError(f"{key}type: {kind!r} is not a teacher; use 'Teacher' or 'EMATeacher'")
    settings = {key: value for key, value in cfg.items() if key != 'type'}
    try:
        with user_errors('model.teacher.config: ', TypeError, KeyError):
            teacher = cls(student, **settings) if cls.follows_student else cls(**settings)
    except UserError as error:
        raise UserError(str(error).replace('model.teacher.', key)) from error
    classes = teacher.segmentor.num_classes
    if classes != student.num_classes:
        raise UserError(
            f'the teacher ({getattr(teacher, "checkpoint", name)}) has {classes} classes, the '
            f'student {student.num_classes}: give both configs the same num_classes'
        )
    return teacher
