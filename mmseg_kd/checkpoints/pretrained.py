"""Load pretrained weights into a backbone, and adapt the names and the prefix of the file."""

from itertools import accumulate
from pathlib import Path

from torch import Tensor, nn

from mmseg_kd.checkpoints.matching import Tensors, fit, shortened
from mmseg_kd.checkpoints.mit_layouts import EMBEDDING, to_nvlabs
from mmseg_kd.checkpoints.safe_load import read_checkpoint, state_dict_of
from mmseg_kd.checkpoints.sources import find_weights
from mmseg_kd.errors import UserError

# Layers of classifiers and segmentors, which backbones do not have.
HEADS = ('head.', 'fc.', 'classifier.', 'decode_head.', 'auxiliary_head.')


def load_pretrained(backbone: nn.Module, path: str | Path, strict: bool = True) -> str:
    """Load pretrained weights into a backbone.

    Args:
        backbone: A Mix Transformer takes every published layout.
        path: The file or its URL.
        strict: Refuse a file that does not fill every tensor of the backbone.

    Returns:
        One line for the log, such as
        `pretrained/mit_b0.pth: matched 176/176 tensors of the backbone`.

    Raises:
        UserError: The file is missing, it cannot be read, nothing matches, or with `strict` a
            tensor of the backbone or of the file is left over. The backbone is unchanged.
    """
    path = find_weights(path)
    if not path.exists():
        raise UserError(
            f'{path}: no such file; fetch it from OpenMMLab (mit_b0_20220624-7e0fe6dd.pth),'
            ' the SegFormer authors or Hugging Face (nvidia/mit-b0), see pretrained/README.md'
            " (not shipped: NVIDIA's licence is non-commercial), or train from scratch with"
            ' --cfg-options model.pretrained=None'
        )
    fitting, report = fit_backbone(backbone, read_checkpoint(path), path, strict=strict)
    backbone.load_state_dict(fitting, strict=False)
    return report


def fit_backbone(
    backbone: nn.Module,
    checkpoint: dict,
    source: str | Path,
    where: str = 'the backbone',
    hint: str = '',
    strict: bool = True,
) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a checkpoint that fit a backbone, and a line for the log.

    The prefix with which most tensors match in name and shape is removed. If that does not fill the
    backbone, tensors are matched by their order, provided that the file's first tensors have the
    shapes and kinds (`weight`, `running_mean`) of the backbone. Layers of a classifier are left
    out, and for models of timm also those that `features_only` does not have.

    Args:
        backbone: Stays as it is.
        checkpoint: As for `state_dict_of`.
        source: The file.
        where: The backbone's key in the config, for the log line.
        hint: Advice about a mismatch, which ends the error.
        strict: As for `fit`.

    Raises:
        UserError: As `state_dict_of`; or the file does not fit, or holds several backbones that do.
    """
    own, found = backbone.state_dict(), state_dict_of(checkpoint, source)
    found = to_nvlabs(found) if EMBEDDING in own else found
    # mmseg's `TIMMBackbone` has its model in an attribute.
    wrapper = [p for p in _prefixes(next(iter(own))) if all(key.startswith(p) for key in own)][-1]
    tensors, how = _without_prefix(own, wrapper, found, source), ''
    # In timm's wrapper, layers that the backbone does not have are left out, else only HEADS.
    layers = {f'{key.removeprefix(wrapper).split(".")[0]}.' for key in own} if wrapper else ('',)
    kept = tuple(map(_plain, layers))
    extra = [key for key in tensors if key not in own]
    left = [key for key in extra if key.startswith(HEADS) or not _plain(key).startswith(kept)]
    tensors = {key: value for key, value in tensors.items() if key not in left}
    in_order, rest = _in_order(own, found)
    if _matching(own, tensors) < len(in_order):
        tensors, left, how = in_order, rest, ' by order and shape, because the names differ'
    if not tensors.keys() & own.keys():
        hint = 'the file is of another architecture'
    fitting, report = fit(backbone, tensors, source, hint, strict)
    left_out = f', left out {shortened(left)}' if left else ''
    return fitting, f'{source}: {report} of {where}{how}{left_out}'


def _prefixes(key: str) -> list[str]:
    """Return '', 'a.' and 'a.b.' for `a.b.weight`."""
    return ['', *accumulate(f'{part}.' for part in key.split('.')[:-1])]


def _plain(key: str) -> str:
    # timm's `features_only` writes stages_0 for stages.0.
    return key.replace('_', '.')


def _without_prefix(own: Tensors, wrapper: str, found: Tensors, source: str | Path) -> Tensors:
    """Return the file's tensors under the prefix that makes most of them match."""
    names = {_plain(key.removeprefix(wrapper)): key for key in own}
    candidates = {}
    for prefix in dict.fromkeys(prefix for key in found for prefix in _prefixes(key)):
        inside = {k[len(prefix) :]: x for k, x in found.items() if k.startswith(prefix)}
        candidates[prefix] = {names.get(_plain(k), k): x for k, x in inside.items()}
    whole = len(_needed(own))
    fitting = [prefix for prefix, x in candidates.items() if _matching(own, x) == whole]
    if len(fitting) > 1:
        where = f'{fitting[0]!r} and {fitting[1]!r}'
        raise UserError(f'{source}: holds several backbones that fit, under {where}; save one')
    # Equal names count too: for a model of another size the error then lists the shapes.
    return max(candidates.values(), key=lambda x: _matching(own, x) + len(own.keys() & x.keys()))


def _matching(own: Tensors, tensors: Tensors) -> int:
    return sum(key in tensors and own[key].shape == tensors[key].shape for key in _needed(own))


def _needed(tensors: Tensors) -> list[str]:
    return [key for key in tensors if not key.endswith('.num_batches_tracked')]


def _in_order(own: Tensors, found: Tensors) -> tuple[dict[str, Tensor], list[str]]:
    """Return the first tensors of the file under the backbone's names, and the names of the others.

    Nothing is returned if a shape or a kind differs.
    """

    def kinds(tensors: Tensors, keys: list[str]) -> list[tuple]:
        return [(tensors[key].shape, key.rpartition('.')[2]) for key in keys]

    mine, theirs = _needed(own), _needed(found)
    first, rest = theirs[: len(mine)], theirs[len(mine) :]
    if kinds(own, mine) != kinds(found, first):
        return {}, []
    return {a: found[b] for a, b in zip(mine, first, strict=True)}, rest
