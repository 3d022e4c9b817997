"""Find the tensors of a file under the names of a backbone."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from pathlib import Path

from torch import Tensor

from mmseg_kd.checkpoints.matching import Tensors
from mmseg_kd.checkpoints.mit_layouts import HEADS
from mmseg_kd.errors import UserError


def adapt(
    own: Tensors, found: Tensors, source: str | Path
) -> tuple[dict[str, Tensor], list[str], str]:
    """Rename a file's tensors to the names of a backbone.

    The prefix that makes most tensors match in name and shape is removed. If that does not fill the
    backbone, the order of the tensors decides, provided that all shapes and kinds (`weight`,
    `running_mean`) of the backbone occur in it.

    Args:
        own: The backbone's tensors.
        found: The file's.
        source: The file, for the error.

    Returns:
        The tensors; the names of those left out, which are layers of a classifier, or what timm's
        `features_only` does not have; and words for the log if the order decided.

    Raises:
        UserError: The file holds several such backbones.
    """
    # mmseg's `TIMMBackbone` has its model in an attribute.
    wrapper = [p for p in _prefixes(next(iter(own))) if all(key.startswith(p) for key in own)][-1]
    tensors = _without_prefix(own, wrapper, found, source)
    in_order, rest = _in_order(own, found)
    if in_order and _matching(own, tensors) < len(in_order):
        return in_order, rest, ' by order and shape, because the names differ'
    parts = tuple({f'{_plain(key.removeprefix(wrapper).split(".")[0])}.' for key in own})
    left = [
        key
        for key in tensors
        if key not in own
        and (key.startswith(HEADS) or (wrapper and not _plain(key).startswith(parts)))
    ]
    return {key: value for key, value in tensors.items() if key not in left}, left, ''


def _prefixes(key: str) -> list[str]:
    """Return '', 'a.' and 'a.b.' for `a.b.weight`."""
    return ['', *accumulate(f'{part}.' for part in key.split('.')[:-1])]


def _plain(key: str) -> str:
    # timm's `features_only` writes stages_0 for stages.0.
    return key.replace('_', '.')


def _without_prefix(
    own: Tensors, wrapper: str, found: Tensors, source: str | Path
) -> dict[str, Tensor]:
    """Return the file's tensors under the prefix that makes most of them match."""
    names = {_plain(key.removeprefix(wrapper)): key for key in own}
    counts = Counter(prefix for key in found for prefix in _prefixes(key))
    candidates: dict[str, dict[str, Tensor]] = {}
    for prefix in counts:
        if not prefix or 2 * counts[prefix] >= len(_needed(own)):
            inside = {k[len(prefix) :]: x for k, x in found.items() if k.startswith(prefix)}
            candidates[prefix] = {names.get(_plain(k), k): x for k, x in inside.items()}
    matching = {prefix: _matching(own, tensors) for prefix, tensors in candidates.items()}
    best, *others = sorted(matching, key=lambda prefix: -matching[prefix])
    if others and matching[best] == matching[others[0]] == len(_needed(own)):
        where = f'{best!r} and {others[0]!r}'
        raise UserError(f'{source}: holds several backbones that fit, under {where}; save one')
    return candidates[best]


def _matching(own: Tensors, tensors: Tensors) -> int:
    return sum(key in tensors and own[key].shape == tensors[key].shape for key in _needed(own))


def _needed(tensors: Tensors) -> list[str]:
    return [key for key in tensors if not key.endswith('.num_batches_tracked')]


def _in_order(own: Tensors, found: Tensors) -> tuple[dict[str, Tensor], list[str]]:
    """Return the first tensors of the file under the backbone's names, and the names of the others.

    Nothing is returned if a shape or a kind differs.
    """
    mine, theirs = _needed(own), _needed(found)
    pairs = list(zip(mine, theirs, strict=False))
    same = all(
        own[a].shape == found[b].shape and a.rpartition('.')[2] == b.rpartition('.')[2]
        for a, b in pairs
    )
    if not same or len(pairs) < len(mine):
        return {}, []
    return {a: found[b] for a, b in pairs}, theirs[len(mine) :]
