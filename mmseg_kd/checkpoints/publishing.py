"""Write a checkpoint for others: the weights and the classes, without the training state."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from mmseg_kd.checkpoints.atomic import atomic_path
from mmseg_kd.checkpoints.safe_load import find_weights_key, read_checkpoint, state_dict_of
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_folder

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
    check_folder(target.parent, 'OUT_FILE')
    checkpoint = read_checkpoint(source)
    tensors = state_dict_of(checkpoint, source)
    # Cloned, because a view would be saved with all of its storage.
    kept = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
        if not name.startswith(NOT_THE_STUDENTS)
    }
    if not kept:
        raise UserError(f'{source}: holds a teacher alone, no weights of a student')
    found = checkpoint.get('meta')
    found = found if isinstance(found, dict) else {}
    meta = _meta(found, source)
    if target.suffix == '.safetensors':
        # One entry, because several have no fixed order, which would change the hash.
        content = save(kept, metadata={'meta': json.dumps(meta)})
    else:
        buffer = BytesIO()
        torch.save({'state_dict': kept, 'meta': meta}, buffer)
        content = buffer.getvalue()
    digits = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
    file = target.with_name(f'{target.stem}-{digits}{target.suffix}')
    if file.exists():
        raise UserError(f'{file} exists and holds these weights: nothing to publish')
    with atomic_path(file) as partial:
        partial.write_bytes(content)
    weights_key = find_weights_key(checkpoint)
    dropped = [key for key in checkpoint if weights_key and key not in (weights_key, 'meta')]
    dropped += [f'meta.{key}' for key in found if key not in meta]
    foreign = len(tensors) - len(kept)
    return file, dropped + [f'{foreign} tensors of a teacher or its losses'] * bool(foreign)


def _meta(found: dict[str, Any], source: str | Path) -> dict[str, Any]:
    """Return the iteration, and the classes and their colours as plain lists."""
    meta = {'iter': found['iter']} if isinstance(found.get('iter'), int) else {}
    dataset = found.get('dataset_meta')
    if not (isinstance(dataset, dict) and dataset):
        return meta
    try:
        kept = {
            key: np.asarray(dataset[key]).tolist()
            for key in ('classes', 'palette')
            if dataset.get(key) is not None
        }
    except ValueError as error:
        problem = f'has classes or a palette of another form: {error}'
        raise UserError(f'{source}: meta.dataset_meta {problem}') from error
    return {**meta, 'dataset_meta': kept}
