"""Write a checkpoint for others: the weights and the classes, without the training state."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from mmseg_kd.checkpoints.atomic import atomic_path
from mmseg_kd.checkpoints.safe_load import read_checkpoint, state_dict_of
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_folder

SUFFIXES = ('.pth', '.safetensors')


def publish(source: str | Path, target: str | Path) -> Path:
    """Write the student's weights with the names and colours of its classes.

    A `.pth` holds `dict(state_dict=..., meta=...)` of tensors and plain Python objects, which
    `torch.load(weights_only=True)` reads. A `.safetensors` has the meta as JSON in its header.
    Equal weights give equal files.

    Args:
        source: The checkpoint.
        target: The file to write; the first 8 digits of its sha256 are added to its name.

    Returns:
        The file.

    Raises:
        UserError: The checkpoint cannot be read, the target's suffix is not supported, or its
            folder is a file.
    """
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise UserError(f'{target}: the suffix decides the format; write {" or ".join(SUFFIXES)}')
    check_folder(target.parent, 'OUT_FILE')
    checkpoint = read_checkpoint(source)
    # Cloned, because a view would be saved with all of its storage.
    kept = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in state_dict_of(checkpoint, source).items()
    }
    meta = _meta(checkpoint)
    if target.suffix == '.safetensors':
        # One entry, because several have no fixed order, which would change the hash.
        content = save(kept, metadata={'meta': json.dumps(meta)})
    else:
        buffer = BytesIO()
        torch.save({'state_dict': kept, 'meta': meta}, buffer)
        content = buffer.getvalue()
    # As in torch.hub and mmsegmentation.
    digits = hashlib.sha256(content).hexdigest()[:8]
    file = target.with_name(f'{target.stem}-{digits}{target.suffix}')
    with atomic_path(file) as partial:
        partial.write_bytes(content)
    return file


def _meta(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the iteration, and the classes and their colours as plain lists."""
    found = checkpoint.get('meta')
    found = found if isinstance(found, dict) else {}
    meta = {'iter': found['iter']} if isinstance(found.get('iter'), int) else {}
    dataset = found.get('dataset_meta')
    if isinstance(dataset, dict):
        meta['dataset_meta'] = {k: dataset[k] for k in ('classes', 'palette') if k in dataset}
    return json.loads(json.dumps(meta, default=lambda array: array.tolist()))
