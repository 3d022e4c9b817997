"""Batches that travel from a data loader worker as one piece."""

from __future__ import annotations

import io
import pickle
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import get_worker_info

from mmseg_kd.compat import shared_bytes

ALIGNMENT = 16
# Fresh shared memory is slow, so blocks are used again. The last byte of each says whether it
# holds a batch that has not been received. A worker pickles in one thread alone, its queue's.
_sending: list[Tensor] = []
# torch maps a block once for as long as somebody holds it, so a mapping lives for its last 64
# batches. Loaders in several threads append; nobody looks inside.
_received: deque[Tensor] = deque(maxlen=64)


@FUNCTIONS.register_module()
def one_piece_collate(samples: Sequence[Any]) -> Any:
    """What mmengine's ``pseudo_collate`` gives, sent by a worker in one block of shared memory.

    A worker otherwise sends every tensor in a block of its own, and int64 labels at full width.
    """
    batch = pseudo_collate(samples)
    return batch if get_worker_info() is None else _OnePiece(batch)


class _OnePiece:
    """Becomes the batch itself where it is unpickled."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple:
        file = io.BytesIO()
        packer = _Packer(file, pickle.HIGHEST_PROTOCOL)
        packer.dump(self.batch)
        block = _free_block(packer.size)
        for start, tensor in packer.tensors:
            _part(block, start, tensor.dtype, tensor.shape).copy_(tensor)
        block[-1] = True
        return _receive, (file.getvalue(), block)


class _Packer(pickle.Pickler):
    """Writes where in the block a tensor is in place of the tensor."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tensors: list[tuple[int, Tensor]] = []
        self.size = 0

    def persistent_id(self, obj: Any) -> tuple | None:
        if type(obj) is not Tensor or obj.device.type != 'cpu' or not obj.numel():
            return None
        dtype = obj.dtype
        if dtype == torch.int64:
            least, greatest = obj.aminmax()
            if least >= 0 and greatest <= 255:
                obj = obj.to(torch.uint8)
        start = self.size
        self.tensors.append((start, obj))
        self.size += -(-obj.numel() * obj.element_size() // ALIGNMENT) * ALIGNMENT
        return start, obj.dtype, obj.shape, dtype


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, block: Tensor) -> None:
        super().__init__(file)
        self.block = block

    def persistent_load(self, pid: tuple) -> Tensor:
        start, sent, shape, dtype = pid
        part = _part(self.block, start, sent, shape)
        if sent == torch.uint8:
            # numpy copies in this thread; torch would ask for a core that a worker is using.
            kind = np.int64 if dtype == torch.int64 else np.uint8
            return torch.from_numpy(part.numpy().astype(kind))
        return part.to(dtype, copy=True)


def _receive(note: bytes, block: Tensor) -> Any:
    batch = _Unpacker(io.BytesIO(note), block).load()
    block[-1] = False
    _received.append(block)
    return batch


def _free_block(size: int) -> Tensor:
    idle = [block for block in _sending if not block[-1]]
    for block in idle:
        if block.numel() > size:
            return block
    _sending[:] = [block for block in _sending if block[-1]]
    block = torch.empty(0, dtype=torch.uint8)
    block.set_(shared_bytes(size + size // 4 + 1))
    _sending.append(block)
    return block


def _part(block: Tensor, start: int, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    return block[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)
