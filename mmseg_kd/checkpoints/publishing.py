"""A checkpoint for others: the weights and what is needed to use them, nothing of the training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from mmseg_kd.checkpoints.atomic import atomic_path
from mmseg_kd.checkpoints.safe_load import read_checkpoint, state_dict_of
from mmseg_kd.errors import UserError

SUFFIXES = ('.pth', '.safetensors')
# Of toolkits that keep these in the model.
NOT_THE_STUDENTS = ('teacher.', 'kd_losses.')
# In the file's name, as torch.hub and mmsegmentation have it.
HASH_DIGITS = 8


def publish(source: str | Path, target: str | Path) -> tuple[Path, list[str]]:
    """Write the student's weights, with the names and colours of its classes.

    A `.pth` holds `dict(state_dict=..., meta=...)` of tensors and plain Python objects, which
    `torch.load(weights_only=True)` reads; a `.safetensors` has the meta as JSON in its header.
    Equal weights give equal files.

    Args:
        source: The checkpoint.
        target: The file to write; the first 8 digits of its sha256 are added to its name.

    Returns:
        The file written, and what of the checkpoint it does not hold.

    Raises:
        UserError: The checkpoint cannot be read, the target has another ending, its folder is
            a file, or the file exists.
    """
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise UserError(f'{target}: the ending says the format; write {" or ".join(SUFFIXES)}')
    if target.parent.is_file():
        raise UserError(f'{target} cannot be written, {target.parent} is a file')
    checkpoint = read_checkpoint(source)
    tensors = state_dict_of(checkpoint, source)
    kept = {
        # Cloned, because a view would bring the whole of what it looks at.
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
        if not name.startswith(NOT_THE_STUDENTS)
    }
    if not kept:
        raise UserError(f'{source}: holds a teacher alone, no weights of a student')
    try:
        meta = _meta(checkpoint)
    except ValueError as error:
        raise UserError(
            f'{source}: meta.dataset_meta has classes or a palette of another form: {error}'
        ) from error
    content = _serialise(kept, meta, target.suffix)
    digits = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
    file = target.with_name(f'{target.stem}-{digits}{target.suffix}')
    if file.exists():
        raise UserError(f'{file} exists, and so do these weights: nothing to publish')
    with atomic_path(file) as partial:
        partial.write_bytes(content)
    return file, _dropped(checkpoint, tensors, kept, meta)


def _meta(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What says which class an id is, as plain lists, and how long was trained."""
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    classes = meta.get('dataset_meta')
    kept: dict[str, Any] = {}
    if isinstance(classes, dict):
        kept['dataset_meta'] = {
            # Whatever numpy or tuple a data set had, plain lists for all readers.
            key: np.asarray(classes[key]).tolist()
            for key in ('classes', 'palette')
            if classes.get(key) is not None
        }
    return kept | {key: meta[key] for key in ('iter',) if isinstance(meta.get(key), int)}


def _serialise(tensors: dict[str, Tensor], meta: dict, suffix: str) -> bytes:
    if suffix == '.safetensors':
        # One entry: several have no fixed order, and the hash would change.
        return save_safetensors(tensors, metadata={'meta': json.dumps(meta)})
    buffer = BytesIO()
    torch.save({'state_dict': tensors, 'meta': meta}, buffer)
    return buffer.getvalue()


def _dropped(checkpoint: dict, tensors: dict, kept: dict, meta: dict) -> list[str]:
    weights = ('state_dict', 'model', 'model_state_dict')
    found = next((key for key in weights if isinstance(checkpoint.get(key), dict)), None)
    dropped = [] if found is None else [key for key in checkpoint if key not in (found, 'meta')]
    old = checkpoint.get('meta')
    dropped += [f'meta.{key}' for key in (old if isinstance(old, dict) else ()) if key not in meta]
    foreign = len(tensors) - len(kept)
    return dropped + [f'{foreign} tensors of a teacher or its losses'] * bool(foreign)
