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
    needed = _needed(own)
    counts = Counter(prefix for key in found for prefix in _prefixes(key))
    candidates = {
        prefix: _without_prefix(own, wrapper, found, prefix)
        for prefix in counts
        if not prefix or 2 * counts[prefix] >= len(needed)
    }
    matching = {
        prefix: sum(own[key].shape == candidate[key].shape for key in needed if key in candidate)
        for prefix, candidate in candidates.items()
    }
    best = max(matching.values())
    prefixes = [prefix for prefix in matching if matching[prefix] == best]
    if best == len(needed) and len(prefixes) > 1:
        where = ' and '.join(map(repr, prefixes))
        raise UserError(f'{source}: holds several backbones that fit, under {where}; save one')
    in_order, rest = _in_order(own, found)
    if in_order and best < len(needed):
        return in_order, rest, ' by order and shape, because the names differ'
    tensors = candidates[prefixes[0]]
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


def _without_prefix(own: Tensors, wrapper: str, found: Tensors, prefix: str) -> dict[str, Tensor]:
    names = {_plain(key.removeprefix(wrapper)): key for key in own}
    inside = {key[len(prefix) :]: x for key, x in found.items() if key.startswith(prefix)}
    return {names.get(_plain(key), key): value for key, value in inside.items()}


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
