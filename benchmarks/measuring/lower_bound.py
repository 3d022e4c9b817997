"""The lower bound of a step's time on a device, and the share of time that a GPU is busy."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from measuring.timing import interleaved, wait_for_device

aten = torch.ops.aten

TRIALS = 9
# Side of a product and bytes of a copy that keep a device busy.
SIDES = {'cpu': 2048, 'cuda': 8192}
COPIED = {'cpu': 2**28, 'cuda': 2**31}


class Work(NamedTuple):
    """What a step does: floating point operations, and bytes that its operators read and write.

    Operations are those of products, convolutions and attention. Fused operators would move less.
    """

    flops: int
    bytes: int


class Rates(NamedTuple):
    """What a device does per second at most: operations of a product, bytes of a copy."""

    flops: float
    bytes: float


def work_of(step: Callable[[], object]) -> Work:
    """Count what a step does; runs it twice."""
    step()
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    with counter as operations, _Traffic() as traffic:
        step()
    return Work(operations.get_total_flops(), traffic.bytes)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


def _convolution_backward(grad: Any, image: Any, weight: Any, *others: Any, **__: Any) -> int:
    """Count the forward pass once per gradient; torch's formula ignores the groups in one."""
    transposed, wanted = others[4], others[7]
    places = image if transposed else grad
    forward = 2 * places[0] * math.prod(places[2:]) * math.prod(weight)
    return forward * sum(wanted[:2])


# What torch's counter lacks: attention on the CPU, and grouped convolutions.
FORMULAS = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten.convolution_backward: _convolution_backward,
}


def rates_of(device: str, dtype: torch.dtype) -> Rates:
    """Measure a device with large products of `dtype` and copies; the median of 9."""
    kind = torch.device(device).type
    side, count = SIDES[kind], COPIED[kind] // torch.float32.itemsize
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.ones(count, device=device)
    target = torch.ones_like(source)
    runs = {
        'product': lambda: torch.mm(a, b, out=product),
        'copy': lambda: target.copy_(source),
    }
    seconds = {name: statistics.median(x) for name, x in interleaved(runs, TRIALS).items()}
    return Rates(2 * side**3 / seconds['product'], 2 * source.nbytes / seconds['copy'])


def busy_share(step: Callable[[], object], times: int = 20) -> float:
    """Measure the share of time in which a GPU runs a kernel or a copy, over some steps."""
    wait_for_device()
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        start = time.perf_counter()
        for _ in range(times):
            step()
        wait_for_device()
        passed = time.perf_counter() - start
    events = recorded.profiler.kineto_results.events()
    spans = [
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in events
        if event.device_type() == torch.autograd.DeviceType.CUDA
    ]
    return covered(spans) / 1e9 / passed


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """Return the length of the union of spans (start, end)."""
    total = reached = 0
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total


class _Traffic(TorchDispatchMode):
    """Sum the bytes of the tensors that operators read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = _tensors(result)
        inputs = _tensors((args, kwargs))
        if not (func.is_view or _views(func, inputs, outputs)):
            # An operator that changes its argument returns it: read once, written once.
            self.bytes += sum(x.nbytes for x in inputs) + sum(x.nbytes for x in outputs)
        return result


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _views(func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    """Return whether nothing was read or written: an empty tensor, or a view of an argument."""
    if func._schema.is_mutable:
        return False
    if not inputs:
        return 'empty' in func._schema.name
    storages = {x.untyped_storage().data_ptr() for x in inputs}
    return all(x.untyped_storage().data_ptr() in storages for x in outputs)
