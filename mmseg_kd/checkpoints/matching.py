"""Load weights only where they fit a model entirely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mmseg_kd.errors import UserError

# The published SegFormer checkpoints have this layer of mmseg's base class; no forward uses it.
_UNUSED = ('decode_head.conv_seg.weight', 'decode_head.conv_seg.bias')


class Match:
    """Compare the tensors of a file with the tensors of a model.

    Attributes:
        matched: Names that agree in shape and in kind of number.
        missing: Names only the model has.
        unexpected: Names only the file has.
        misshapen: Names on both sides, with the file's and the model's shape.
        mistyped: Names with the file's dtype, where only the model has real numbers.
    """

    def __init__(self, model: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
        self.matched: list[str] = []
        self.missing = [key for key in model if key not in found]
        self.unexpected = [key for key in found if key not in model]
        self.misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.mistyped: dict[str, torch.dtype] = {}
        for key, own in model.items():
            if key not in found:
                continue
            file = found[key]
            if own.is_floating_point() and not file.is_floating_point():
                # Copying would drop an imaginary part, or round weights, without a warning.
                self.mistyped[key] = file.dtype
            elif file.shape != own.shape:
                self.misshapen[key] = tuple(file.shape), tuple(own.shape)
            else:
                self.matched.append(key)

    @property
    def total(self) -> int:
        """Count the tensors of the model."""
        return sum(map(len, (self.matched, self.missing, self.misshapen, self.mistyped)))

    @property
    def report(self) -> str:
        """Describe the match in a line for the log."""
        counts = f'matched {len(self.matched)}/{self.total} tensors'
        return ', '.join([counts, *self.differences()])

    def differences(self) -> list[str]:
        """Describe each kind of difference: its count and up to three examples."""
        shapes = (f'{key} {file} for {own}' for key, (file, own) in self.misshapen.items())
        kinds = {
            'missing': examples(self.missing),
            'unexpected': examples(self.unexpected),
            'of another shape': examples(shapes),
            'not real numbers': examples(f'{key} {kind}' for key, kind in self.mistyped.items()),
        }
        return [f'{kind} {text}' for kind, text in kinds.items() if text]

    def classes(self) -> tuple[int, int] | None:
        """Return the file's and the model's number of classes, if they differ in nothing else."""
        if self.missing or self.unexpected or self.mistyped:
            return None
        rows = {(file[:1], own[:1]) for file, own in self.misshapen.values()}
        columns_fit = all(file[1:] == own[1:] for file, own in self.misshapen.values())
        if len(rows) != 1 or not columns_fit:
            return None
        (file,), (own,) = rows.pop()
        return file, own


def examples(names: Iterable[str]) -> str:
    """Write names as `5 (a, b, c, ...)`; no names give an empty string."""
    names = list(names)
    more = ', ...' if len(names) > 3 else ''
    return f'{len(names)} ({", ".join(names[:3])}{more})' if names else ''


def fit(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    source: str | Path,
    hint: str = '',
    strict: bool = True,
) -> tuple[dict[str, Tensor], str]:
    """Return the weights that match a model in name, shape and kind, and a line for the log.

    BatchNorm's `num_batches_tracked` may be missing.

    Args:
        model: Stays as it is.
        state_dict: Tensors by name.
        source: The file they came from, for the error.
        hint: What to do about a mismatch, the end of the error.
        strict: Whether every tensor has to match; otherwise one match is enough.

    Returns:
        Tensors by name, and a line such as `matched 176/176 tensors`.

    Raises:
        UserError: Names or shapes differ, or the file has whole or complex numbers for weights.
    """
    own = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = {key: value for key, value in state_dict.items() if key in own or key not in _UNUSED}
    needed = {
        key: value
        for key, value in own.items()
        if key in found or not key.endswith('.num_batches_tracked')
    }
    match = Match(needed, found)
    if (strict and match.differences()) or not match.matched:
        if classes := match.classes():
            hint = f'the checkpoint has {classes[0]} classes, the model {classes[1]}'
        raise UserError(
            f'{source} does not fit {type(model).__name__}:'
            f' {len(match.matched)} of {match.total} tensors match;'
            f' {", ".join(match.differences())}' + (f'; {hint}' if hint else '')
        )
    return {key: found[key] for key in match.matched}, match.report


def load_strictly(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str | Path, hint: str = ''
) -> int:
    """Load weights if all of them match the model; otherwise load nothing and raise.

    Arguments and errors as for `fit`.

    Returns:
        The number of tensors loaded.
    """
    fitting, _ = fit(model, state_dict, source, hint)
    model.load_state_dict(fitting, strict=False)
    return len(fitting)
