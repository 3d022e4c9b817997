"""Load weights only if they fit a model completely."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from mmseg_kd.checkpoints.mit_layouts import to_segformer
from mmseg_kd.checkpoints.safe_load import state_dict_of
from mmseg_kd.errors import UserError

Tensors = Mapping[str, Tensor]
# The published SegFormer checkpoints have this layer of mmseg's base class, which is never run.
_UNUSED = ('decode_head.conv_seg.weight', 'decode_head.conv_seg.bias')


def fit(
    model: nn.Module,
    state_dict: Tensors,
    source: str | Path,
    hint: str = '',
    strict: bool = True,
    reset_classifier: bool | None = None,
) -> tuple[dict[str, Tensor], str]:
    """Return the weights that match a model in name, shape and kind, and a line for the log.

    BatchNorm's `num_batches_tracked` may be missing.

    Args:
        model: Stays as it is.
        state_dict: Tensors by name.
        source: The file they came from, for the error.
        hint: Advice about a mismatch, which ends the error.
        strict: Whether every tensor has to match; otherwise one match is enough.
        reset_classifier: Whether to accept a file with another number of classes, and leave out
            the tensors that depend on it. With None or False such a file is an error; only with
            False the error mentions `reset_classifier=True`.

    Returns:
        Tensors by name, and a line such as `matched 176/176 tensors`.

    Raises:
        UserError: Names or shapes differ, or the file has whole or complex numbers for weights.
    """
    own = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = {key: value for key, value in state_dict.items() if key in own or key not in _UNUSED}
    missing = [k for k in own if k not in found and not k.endswith('.num_batches_tracked')]
    unexpected = [key for key in found if key not in own]
    common = [key for key in own if key in found]
    # Copying would drop an imaginary part, or round weights, without a warning.
    types = [k for k in common if own[k].is_floating_point() and not found[k].is_floating_point()]
    shapes = {k: (tuple(found[k].shape), tuple(own[k].shape)) for k in common if k not in types}
    shapes = {key: pair for key, pair in shapes.items() if pair[0] != pair[1]}
    matched = {key: found[key] for key in common if key not in types and key not in shapes}
    parts = {
        'missing': missing,
        'unexpected': unexpected,
        'of another shape': [f'{key} {file} for {mine}' for key, (file, mine) in shapes.items()],
        'not real numbers': [f'{key} {found[key].dtype}' for key in types],
    }
    words = [f'{kind} {len(names)} ({shortened(names)})' for kind, names in parts.items() if names]
    total = len(matched) + len(missing) + len(shapes) + len(types)
    classes = None if missing or unexpected or types else _classes(shapes.values())
    if (strict and words and not (reset_classifier and classes)) or not matched:
        if classes:
            hint = f'the checkpoint has {classes[0]} classes, the model {classes[1]}'
            if reset_classifier is not None:
                hint += '; to keep everything but the classifier, write reset_classifier=True'
        misfit = f'{source} does not fit {type(model).__name__}'
        count = f'{len(matched)} of {total} tensors match'
        raise UserError(f'{misfit}: ' + '; '.join(filter(None, [count, ', '.join(words), hint])))
    return matched, ', '.join([f'matched {len(matched)}/{total} tensors', *words])


def shortened(names: list[str]) -> str:
    """Return the first three names, and an ellipsis for the others."""
    return ', '.join([*names[:3], '...'] if len(names) > 3 else names)


def _classes(shapes: Iterable[tuple[tuple, tuple]]) -> tuple[int, int] | None:
    """Return the file's and the model's number of classes, if the shapes differ only in them."""
    counts = {(*file[:1], *mine[:1]) for file, mine in shapes}
    rest_is_same = all(file and mine and file[1:] == mine[1:] for file, mine in shapes)
    return counts.pop() if rest_is_same and len(counts) == 1 else None


def load_strictly(
    model: nn.Module, checkpoint: dict, source: str | Path, reset_classifier: bool | None = None
) -> int:
    """Load the weights of a checkpoint if all match the model; otherwise load nothing and raise.

    A SegFormer may have any layout of `mit_layouts`. The log reports a classifier that is left out.

    Args:
        model: The model.
        checkpoint: As for `state_dict_of`.
        source: The file it came from, for the error.
        reset_classifier: As for `fit`.

    Returns:
        The number of tensors loaded.

    Raises:
        UserError: As `state_dict_of` and `fit`.
    """
    tensors = to_segformer(model.state_dict(), state_dict_of(checkpoint, source))
    fitting, report = fit(model, tensors, source, reset_classifier=reset_classifier)
    model.load_state_dict(fitting, strict=False)
    if reset_classifier and 'another shape' in report:
        print_log(f'{source}: {report}: the classifier starts anew', logger='current')
    return len(fitting)
