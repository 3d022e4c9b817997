"""Weights that fit a model entirely, or are not loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mmseg_kd.errors import UserError

# The published SegFormer checkpoints carry this layer of mmseg's base class,
# which their head never runs.
_UNUSED = ('decode_head.conv_seg.weight', 'decode_head.conv_seg.bias')


@dataclass(frozen=True)
class Match:
    """How the tensors of a file lie over the tensors of a model.

    Attributes:
        matched: Names with the same shape on both sides.
        missing: Names only the model has.
        unexpected: Names only the file has.
        misshapen: Names on both sides, with the file's and the model's shape.
    """

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @classmethod
    def of(cls, model: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Match:
        """Compare a file's tensors with a model's, by name and shape."""
        shapes = {
            key: (tuple(found[key].shape), tuple(value.shape))
            for key, value in model.items()
            if key in found
        }
        return cls(
            matched=[key for key, (file, own) in shapes.items() if file == own],
            missing=[key for key in model if key not in found],
            unexpected=[key for key in found if key not in model],
            misshapen={key: pair for key, pair in shapes.items() if pair[0] != pair[1]},
        )

    @property
    def total(self) -> int:
        """The number of tensors the model has."""
        return len(self.matched) + len(self.missing) + len(self.misshapen)

    def differences(self) -> list[str]:
        """Each kind of difference there is, counted and with up to three examples."""
        shapes = (f'{key} {file} for {own}' for key, (file, own) in self.misshapen.items())
        kinds = {
            'missing': examples(self.missing),
            'unexpected': examples(self.unexpected),
            'of another shape': examples(shapes),
        }
        return [f'{kind} {text}' for kind, text in kinds.items() if text]

    def classes(self) -> tuple[int, int] | None:
        """The file's and the model's class count, if nothing else keeps them apart."""
        if self.missing or self.unexpected:
            return None
        rows = {(file[:1], own[:1]) for file, own in self.misshapen.values()}
        columns_fit = all(file[1:] == own[1:] for file, own in self.misshapen.values())
        if len(rows) != 1 or not columns_fit:
            return None
        (file,), (own,) = rows.pop()
        return file, own


def examples(names: Iterable[str]) -> str:
    """`5 (a, b, c, ...)`, or nothing for no names."""
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
    """Return the weights that match a model in name and shape, and a line for the log.

    BatchNorm's `num_batches_tracked` may be missing.

    Args:
        model: Stays as it is.
        state_dict: Tensors by name.
        source: The file they came from, for the error.
        hint: What to do about a mismatch, the end of the error.
        strict: Whether every name and shape has to match; else one is enough.

    Returns:
        Tensors by name, and a line such as `matched 176/176 tensors`.

    Raises:
        UserError: Names or shapes differ.
    """
    own = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = {key: value for key, value in state_dict.items() if key in own or key not in _UNUSED}
    needed = {
        key: value
        for key, value in own.items()
        if key in found or not key.endswith('.num_batches_tracked')
    }
    match = Match.of(needed, found)
    if (strict and match.differences()) or not match.matched:
        if classes := match.classes():
            hint = f'the checkpoint has {classes[0]} classes, the model {classes[1]}'
        raise UserError(
            f'{source} does not fit {type(model).__name__}:'
            f' {len(match.matched)} of {match.total} tensors match;'
            f' {", ".join(match.differences())}' + (f'; {hint}' if hint else '')
        )
    report = f'matched {len(match.matched)}/{match.total} tensors'
    return {key: found[key] for key in match.matched}, ', '.join([report, *match.differences()])


def load_strictly(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str | Path, hint: str = ''
) -> int:
    """Load weights that match the model in every name and shape, or raise and load nothing.

    Arguments and errors as for `fit`.

    Returns:
        The number of tensors loaded.
    """
    fitting, _ = fit(model, state_dict, source, hint)
    model.load_state_dict(fitting, strict=False)
    return len(fitting)
