"""Read checkpoints as data, without running code from the file."""

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, serialization

from mmseg_kd.checkpoints.inert import STAND_INS, restore
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_file

_REFUSED = re.compile(r'GLOBAL (\S+) (?:was not an allowed global|whose module)')
_WEIGHTS = ('state_dict', 'model', 'model_state_dict')
# Bytes. A larger tensor must not repeat its storage, as an expanded view does.
MOST_REPEATED = 2**20


def read_checkpoint(path: str | Path, map_location: str | torch.device = 'cpu') -> dict[str, Any]:
    """Read a checkpoint as data: a `torch.save` file or a `.safetensors`.

    Tensors, plain Python containers and numbers, numpy arrays of numbers and mmengine's history
    buffers are read. A file that names anything else is refused, and nothing in it runs.

    Args:
        path: The file.
        map_location: The device for the tensors.

    Raises:
        UserError: The file is missing, damaged, not a checkpoint, or names code.
    """
    path = Path(path)
    check_file(path, 'the checkpoint')
    if not path.stat().st_size:
        raise UserError(f'{path}: is empty (0 bytes), copy or download it again')
    # Other libraries allow names for the whole process. They are removed meanwhile, because torch
    # would accept the real classes as well as the stand-ins.
    others = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    try:
        if path.suffix == '.safetensors':
            return load_file(path, device=str(map_location))
        # torch's warnings before a refusal advise how to load the file anyway.
        with serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        checkpoint = restore(checkpoint, {})
    # A damaged or hostile file can make the reader raise anything.
    except Exception as error:
        raise UserError(f'{path}: {_reason(path, error)}') from error
    finally:
        serialization.add_safe_globals(others)
    if not isinstance(checkpoint, dict):
        raise UserError(f'{path}: holds a {type(checkpoint).__name__} instead of a dict of tensors')
    return checkpoint


def state_dict_of(
    checkpoint: dict[str, Any], source: str | Path = 'checkpoint'
) -> dict[str, Tensor]:
    """Return the model's tensors of a checkpoint.

    Args:
        checkpoint: A dict with `state_dict`, `model` or `model_state_dict`, or a state dict.
        source: The checkpoint's name in errors.

    Returns:
        Tensors by name, without the prefix `module.` of DistributedDataParallel.

    Raises:
        UserError: There are no tensors, or some are sparse, quantized, without data, larger than
            their data in the file, or not finite.
    """
    parts = (checkpoint.get(key) for key in _WEIGHTS)
    held = next((part for part in parts if isinstance(part, dict)), checkpoint)
    # `dict.items`, because a file may set an `items` attribute on an OrderedDict.
    found = dict(dict.items(held))
    tensors = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        keys = _printable(', '.join(map(str, list(found)[:5])) or 'nothing')
        raise UserError(f'{source}: holds no model weights, only {keys}; save a state_dict')
    for key, value in tensors.items():
        if not key.isprintable():
            raise UserError(f'{source}: has a name that cannot be shown, {_printable(key)}')
        if problem := _problem(value):
            raise UserError(f'{source}: {key} {problem}')
    if all(key.startswith('module.') for key in tensors):
        tensors = {key.removeprefix('module.'): value for key, value in tensors.items()}
    return tensors


def _problem(value: Tensor) -> str | None:
    """Return why a tensor cannot be used as a weight, or None if it can."""
    if value.layout is not torch.strided or value.is_meta or value.is_quantized:
        return 'is sparse, quantized or without data, save it as a plain tensor'
    stored = value.untyped_storage().nbytes()
    if value.nbytes > max(stored, MOST_REPEATED):
        shape = tuple(value.shape)
        return f'of shape {shape} repeats its {stored:,} bytes, save it as a plain tensor'
    if value.itemsize == 1 and value.is_floating_point():
        # torch cannot compare 8-bit floats.
        value = value.float()
    if not value.isfinite().all():
        return 'is not finite (nan or inf): the training diverged, take an earlier checkpoint'
    return None


def sha256_of(path: str | Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _reason(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that cannot be read, and what to do."""
    message = str(error)
    if refused := _REFUSED.search(message):
        code = f'it names "{_printable(refused[1])}", which is code and not weights'
        return f'refuses to load, {code}; ask for the bare state_dict or a .safetensors file'
    with path.open('rb') as file:
        start = file.read(40)
    size = f'{path.stat().st_size:,} bytes'
    if start.isascii() and 0 not in start:
        text = f'is a text file such as a web page ({size}, "{_printable(start.decode())}")'
        return f'{text}, download the file itself; for a git-lfs pointer run: git lfs pull'
    # Remove torch's own advice before the reason: it is to load the file unsafely.
    why = message.split('WeightsUnpickler error: ')[-1].strip().split('\n')[0].split('. ')[0]
    why = type(error).__name__ if 'weights_only' in why else _printable(why)
    return f'is truncated, damaged or not a checkpoint ({size}; {why}), copy or download it again'


def _printable(text: str) -> str:
    """Escape control characters and shorten: the text may come from the file."""
    return text[:120].encode('unicode_escape').decode()
