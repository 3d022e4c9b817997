"""Write a checkpoint for others: the weights and the classes, without the training state."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from mmseg_kd.checkpoints.atomic import atomic_path
from mmseg_kd.checkpoints.safe_load import read_checkpoint, state_dict_of
from mmseg_kd.errors import UserError
from mmseg_kd.nested import value_at
from mmseg_kd.paths import check_folder


def publish(source: str | Path, target: str | Path) -> Path:
    """Write the student's weights with the names and colours of its classes.

    The file holds `dict(state_dict=..., meta=...)` of tensors and plain Python objects, which
    `torch.load(weights_only=True)` reads. Equal weights give equal files.

    Args:
        source: The checkpoint.
        target: The `.pth` to write; the first 8 digits of its sha256 are added to its name.

    Returns:
        The file.

    Raises:
        UserError: The checkpoint cannot be read, or the target does not end in `.pth` or its folder
            cannot be written to.
    """
    target = Path(target)
    if target.suffix != '.pth':
        raise UserError(f'{target}: write a name that ends in .pth')
    check_folder(target.parent, 'OUT_FILE')
    checkpoint = read_checkpoint(source)
    # torch would save a view with all of its storage, so the tensors are cloned.
    kept = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in state_dict_of(checkpoint, source).items()
    }
    buffer = BytesIO()
    torch.save({'state_dict': kept, 'meta': _meta(checkpoint)}, buffer)
    content = buffer.getvalue()
    # As in torch.hub and mmsegmentation.
    digits = hashlib.sha256(content).hexdigest()[:8]
    file = target.with_name(f'{target.stem}-{digits}{target.suffix}')
    with atomic_path(file) as partial:
        partial.write_bytes(content)
    return file


def _meta(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the iteration, and the classes and their colours as plain lists."""
    # mmseg 0.x has the classes and colours in `meta` itself, in capitals.
    old = {key: value_at(checkpoint, f'meta.{key.upper()}') for key in ('classes', 'palette')}
    iteration, dataset = (value_at(checkpoint, f'meta.{key}') for key in ('iter', 'dataset_meta'))
    meta = {'iter': iteration} if isinstance(iteration, int) else {}
    named = dataset if isinstance(dataset, dict) else old
    if found := {k: v for k, v in named.items() if k in old and v is not None}:
        meta['dataset_meta'] = found
    return json.loads(json.dumps(meta, default=lambda array: array.tolist()))
