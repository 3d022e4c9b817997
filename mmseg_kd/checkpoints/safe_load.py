"""Reading weights without running what the file says."""

from __future__ import annotations

import hashlib
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)

from mmseg_kd.checkpoints.inert import STAND_INS, restore
from mmseg_kd.errors import UserError

_REFUSED = re.compile(r'GLOBAL (\S+) (?:was not an allowed global|whose module)')
_LFS = b'version https://git-lfs'
_ZIP = b'PK\x03\x04'
_PICKLE = b'\x80'
# A tensor may show its storage several times over; more than this many bytes, it may not.
MOST_REPEATED = 2**20
# torch keeps one list of allowed names for the whole process
_ALLOWED_NAMES = threading.Lock()


def read_checkpoint(path: str | Path, map_location: str | torch.device = 'cpu') -> dict[str, Any]:
    """Read a checkpoint as data: `torch.save` files and `.safetensors`.

    Tensors, plain Python containers and numbers, numpy arrays of numbers and
    mmengine's history buffers are read. A file that names anything else is
    refused, and nothing in it runs.

    Args:
        path: The file.
        map_location: The device that tensors are put on.

    Raises:
        UserError: There is no such file, it is not a checkpoint, it is damaged,
            or it names code.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f'{path}: is a folder, name the checkpoint file inside it')
    if not path.is_file():
        raise UserError(f'{path}: no such file, check the path of the checkpoint')
    if not path.stat().st_size:
        raise UserError(f'{path}: is empty (0 bytes), copy or download it again')
    if path.suffix == '.safetensors':
        return _read_safetensors(path, map_location)
    try:
        # torch's warnings on the way to a refusal advise how to load it anyway
        with _only_stand_ins(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        checkpoint = restore(checkpoint)
    # A damaged or hostile file can make the reader raise anything.
    except Exception as error:
        raise UserError(f'{path}: {_reason(path, error)}') from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            f'{path}: holds a {type(checkpoint).__name__} instead of a dict of tensors,'
            ' save model.state_dict()'
        )
    return checkpoint


def state_dict_of(
    checkpoint: dict[str, Any], source: str | Path = 'checkpoint'
) -> dict[str, Tensor]:
    """Find the model's tensors in what `read_checkpoint` returned.

    Args:
        checkpoint: Holds `state_dict`, `model` or `model_state_dict`, or is the
            state dict.
        source: What an error calls the checkpoint.

    Returns:
        Tensors by name, without the `module.` that DistributedDataParallel adds.

    Raises:
        UserError: There are no tensors, or some are sparse, quantized, without
            data, larger than what the file holds of them, or not finite.
    """
    found = next(
        (
            checkpoint[key]
            for key in ('state_dict', 'model', 'model_state_dict')
            if isinstance(checkpoint.get(key), dict)
        ),
        checkpoint,
    )
    tensors = {
        key: value
        for key, value in dict.items(found)
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not tensors:
        keys = _printable(', '.join(str(key) for key in list(found)[:5]) or 'nothing')
        raise UserError(
            f'{source}: holds no model weights, only {keys}; give a file with a state_dict'
        )
    for key, value in tensors.items():
        if not key.isprintable():
            raise UserError(f'{source}: has a name that cannot be shown, {_printable(key)}')
        if value.layout is not torch.strided or value.is_meta or value.is_quantized:
            raise UserError(
                f'{source}: {key} is sparse, quantized or without data, save it as a plain tensor'
            )
        if value.nbytes > max(value.untyped_storage().nbytes(), MOST_REPEATED):
            raise UserError(
                f'{source}: {key} of shape {tuple(value.shape)} repeats its'
                f' {value.untyped_storage().nbytes():,} bytes, save it as a plain tensor'
            )
        if not is_finite(value):
            raise UserError(
                f'{source}: {key} is not finite (nan or inf): the training diverged,'
                ' take an earlier checkpoint'
            )
    if all(key.startswith('module.') for key in tensors):
        tensors = {key.removeprefix('module.'): value for key, value in tensors.items()}
    return tensors


def is_finite(value: Tensor) -> bool:
    """Whether a tensor of any type holds neither nan nor infinity."""
    if not (value.is_floating_point() or value.is_complex()):
        return True
    # The 8-bit floats have no comparison.
    return bool((value.float() if value.itemsize == 1 else value).isfinite().all())


def sha256_of(path: str | Path) -> str:
    """Hash a file of any size; 64 hex digits."""
    digest = hashlib.sha256()
    with Path(path).open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _only_stand_ins() -> Iterator[None]:
    # Other libraries add names for the whole process; where one of them is the
    # real thing behind a stand-in, torch takes either.
    with _ALLOWED_NAMES:
        others = get_safe_globals()
        clear_safe_globals()
        try:
            with safe_globals(STAND_INS):
                yield
        finally:
            add_safe_globals(others)


def _read_safetensors(path: Path, map_location: str | torch.device) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(
            f'{path}: reading it needs a library, run: pip install safetensors'
        ) from None
    try:
        return load_file(path, device=str(map_location))
    except Exception as error:
        raise UserError(f'{path}: {_reason(path, error)}') from error


def _reason(path: Path, error: Exception) -> str:
    message = str(error)
    if refused := _REFUSED.search(message):
        return (
            f'refuses to load, it names "{_printable(refused[1])}", which is code and not weights;'
            ' ask for the bare state_dict or a .safetensors file'
        )
    if isinstance(error, PermissionError):
        return f'cannot be read ({_printable(message)})'
    with path.open('rb') as file:
        head = file.read(512)
    size = f'{path.stat().st_size:,} bytes'
    if head.startswith(_LFS):
        return f'is a git-lfs pointer ({size}) and not the weights, run: git lfs pull'
    if head.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'<'):
        return f'is a web page ({size}) saved under this name, download the file itself'
    if head.isascii() and _is_text(head):
        return f'is a text file ({size}, "{_printable(head.decode(), 40)}"), not a checkpoint'
    if 'TorchScript' in message:
        return 'refuses to load, it is a TorchScript program, which is code; save its state_dict()'
    if 'legacy .tar' in message:
        return (
            'refuses to load, it is in the tar format of before PyTorch 0.1.10;'
            ' load it where it is trusted and torch.save it again'
        )
    # torch prints its own advice first, which is to load the file unsafely
    why = _printable(
        message.split('WeightsUnpickler error: ')[-1].strip().split('\n')[0].split('. ')[0]
    )
    if 'weights_only' in why:
        why = type(error).__name__
    if head.startswith(_ZIP):
        return (
            f'is truncated, damaged or not a checkpoint ({size}; {why}), copy or download it again'
        )
    if head.startswith(_PICKLE):
        return (
            f'refuses to load, it is a pickle that torch.save did not write ({why});'
            ' torch.save the state_dict'
        )
    return f'is not a checkpoint or is damaged ({size}; {why}), copy or download it again'


def _is_text(head: bytes) -> bool:
    return all(byte >= 0x20 or byte in b'\t\r\n' for byte in head)


def _printable(text: str, length: int = 120) -> str:
    """One line without control characters: the text may come from the file."""
    return text[:length].encode('unicode_escape').decode()
