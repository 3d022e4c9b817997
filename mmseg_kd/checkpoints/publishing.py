"""Write a checkpoint for others: the weights and the classes, without the training state."""

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
from mmseg_kd.checkpoints.safe_load import find_weights_key, read_checkpoint, state_dict_of
from mmseg_kd.errors import UserError

SUFFIXES = ('.pth', '.safetensors')
# Parts of the model that other distillation toolkits save with the student.
NOT_THE_STUDENTS = ('teacher.', 'kd_losses.')
# Digits of the sha256 in the file's name, as in torch.hub and mmsegmentation.
HASH_DIGITS = 8


def publish(source: str | Path, target: str | Path) -> tuple[Path, list[str]]:
    """Write the student's weights with the names and colours of its classes.

    A `.pth` holds `dict(state_dict=..., meta=...)` of tensors and plain Python objects, which
    `torch.load(weights_only=True)` reads. A `.safetensors` has the meta as JSON in its header.
    Equal weights give equal files.

    Args:
        source: The checkpoint.
        target: The file to write; the first 8 digits of its sha256 are added to its name.

    Returns:
        The file, and the names of what was left out of it.

    Raises:
        UserError: The checkpoint cannot be read, the target's suffix is not supported, its folder
            is a file, or the file exists.
    """
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise UserError(f'{target}: the suffix decides the format; write {" or ".join(SUFFIXES)}')
    if target.parent.is_file():
        raise UserError(f'{target} cannot be written, {target.parent} is a file')
    checkpoint = read_checkpoint(source)
    tensors = state_dict_of(checkpoint, source)
    kept = {
        # Cloned, because a view would be saved with all of its storage.
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
        raise UserError(f'{file} exists and holds these weights: nothing to publish')
    with atomic_path(file) as partial:
        partial.write_bytes(content)
    return file, _dropped(checkpoint, tensors, kept, meta)


def _meta(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the classes and their colours as plain lists, and the iteration."""
    meta = _dict(checkpoint, 'meta')
    kept: dict[str, Any] = {}
    if classes := _dict(meta, 'dataset_meta'):
        kept['dataset_meta'] = {
            key: np.asarray(classes[key]).tolist()
            for key in ('classes', 'palette')
            if classes.get(key) is not None
        }
    return kept | {key: meta[key] for key in ('iter',) if isinstance(meta.get(key), int)}


def _dict(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _serialise(tensors: dict[str, Tensor], meta: dict, suffix: str) -> bytes:
    if suffix == '.safetensors':
        # One entry, because several have no fixed order, which would change the hash.
        return save_safetensors(tensors, metadata={'meta': json.dumps(meta)})
    buffer = BytesIO()
    torch.save({'state_dict': tensors, 'meta': meta}, buffer)
    return buffer.getvalue()


def _dropped(checkpoint: dict, tensors: dict, kept: dict, meta: dict) -> list[str]:
    found = find_weights_key(checkpoint)
    dropped = [key for key in checkpoint if found and key not in (found, 'meta')]
    dropped += [f'meta.{key}' for key in _dict(checkpoint, 'meta') if key not in meta]
    foreign = len(tensors) - len(kept)
    return dropped + [f'{foreign} tensors of a teacher or its losses'] * bool(foreign)
