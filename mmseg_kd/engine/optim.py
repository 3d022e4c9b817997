"""Mixed precision where there is no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """OptimWrapper that computes in bfloat16 autocast, on the CPU or a GPU.

    bfloat16 has float32's range, so no loss is scaled. Weights and optimizer stay float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in autocast on the model's device."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


# Whether oneDNN computes in a type on this processor.
SUPPORTED = {
    torch.bfloat16: '_is_mkldnn_bf16_supported',
    torch.float16: '_is_mkldnn_fp16_supported',
}


def fast_on_cpu(dtype: torch.dtype) -> bool:
    """Whether torch has products of a type for this CPU; else it is far slower than float32."""
    if dtype not in SUPPORTED:
        return True
    asked = getattr(torch.ops.mkldnn, SUPPORTED[dtype], None)
    return bool(asked and asked())
