"""A training step that is recorded once as a CUDA graph and then replayed.

A distillation step launches more than a thousand small kernels. Launching them takes longer than
running them. A replay launches all of them at once. See docs/performance.md.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmengine.dist import is_distributed
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_kd.compat import end_failed_capture
from mmseg_kd.errors import one_line
from mmseg_kd.models.batch_preprocessor import BatchDataPreProcessor, PackedBatch
from mmseg_kd.models.launches import let_launches_be_free

# Eager steps of a kind before its recording: they choose kernels and create the optimizer's state.
WARMUP_STEPS = 3
# More kinds of steps mean that a size or a setting changes all the time.
MOST_KINDS = 16


class Recording(NamedTuple):
    """A recorded step.

    Attributes:
        graph: The CUDA graph.
        batch: The batch that the graph reads; a replay fills it first.
        names: Names of the logged scalars.
        values: The scalars in one vector, which every replay overwrites.
    """

    graph: torch.cuda.CUDAGraph
    batch: PackedBatch
    names: list[str]
    values: Tensor


class GraphedStep:
    """A replacement of a model's `train_step`, with the same arguments and results.

    Preprocessing, forward pass, losses, backward pass and optimizer become one CUDA graph.
    The learning rate and scheduled weights and temperatures are tensors that are filled before
    each step.

    Each kind of step has its own recording. A kind is the shape of the batch, the active losses,
    whether gradients are measured, and the optimizer's settings other than the learning rate. The
    first three steps of each kind run eagerly, and so do iterations that find the weight of a
    `GradientShare`. If a recording fails, or there are more than 16 kinds, one line in the log says
    so, and all further steps run eagerly.

    Args:
        model: The model, on its GPU.
        warn: Logs that line.
    """

    def __init__(self, model: BaseModel, warn: Callable[[str], None]) -> None:
        self.model, self._warn = model, warn
        self._eager = model.train_step
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()
        self._steps: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, Recording] = {}
        self._rates: list[Tensor] = []
        self._stopped = False
        self._kd_losses = getattr(model, 'kd_losses', None)
        self._device = next(model.parameters()).device
        if self._kd_losses:
            self._kd_losses.put_numbers_on(self._device)
        let_launches_be_free(model)

    def __call__(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Train on a batch and return the scalars to log."""
        groups = optim_wrapper.optimizer.param_groups
        with _setting(groups, 'lr', self._rates_on_device(groups)):
            # Packed here if no thread did it, so that the step below does not pack it again.
            data = self.model.data_preprocessor.prepare(data)
            batch = data.get('packed')
            kind = self._kind(batch, optim_wrapper)
            if kind is None:
                return _detached(self._eager(data, optim_wrapper))
            if kind not in self._steps and len(self._steps) == MOST_KINDS:
                self._stop(f'a size or a setting keeps changing: {MOST_KINDS} kinds so far')
            elif kind not in self._recordings and self._steps[kind] >= WARMUP_STEPS:
                self._record(kind, batch, data, optim_wrapper)
            if kind in self._recordings:
                return _replay(self._recordings[kind], batch)
            self._steps[kind] += 1
            return self._warm_up(data, optim_wrapper)

    def _kind(self, batch: PackedBatch | None, optim_wrapper: OptimWrapper) -> Hashable | None:
        """Return the kind of the step; None if it is not to be recorded."""
        losses = self._kd_losses.step_kind() if self._kd_losses else ()
        if batch is None or losses is None or self._stopped:
            return None
        groups, others = optim_wrapper.optimizer.param_groups, ('params', 'lr', 'initial_lr')
        settings = [{k: v for k, v in group.items() if k not in others} for group in groups]
        return batch.images.shape, batch.labels.dtype, losses, repr(settings)

    def _warm_up(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Run an eager step on the stream that records later."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            logs = self._eager(data, optim_wrapper)
        current.wait_stream(self._stream)
        return _detached(logs)

    def _record(
        self, kind: Hashable, batch: PackedBatch, data: dict, optim_wrapper: OptimWrapper
    ) -> None:
        optimizer = optim_wrapper.optimizer
        # torch checks it in a capture, although a fused optimizer ignores it. SGD does not have it.
        checked = [group for group in optimizer.param_groups if 'capturable' in group]
        tensors = (batch.images, batch.labels, batch.sizes)
        # As padded, because later batches may hold smaller images.
        static = PackedBatch(*(x.to(self._device, copy=True) for x in tensors), padded=True)
        samples = [
            SegDataSample(metainfo=sample.metainfo, gt_sem_seg=sample.gt_sem_seg.clone())
            for sample in data['data_samples']
        ]
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        try:
            with (
                # A capture that fails leaves its stream as the current one.
                torch.cuda.stream(torch.cuda.current_stream()),
                _setting(checked, 'capturable', [True] * len(checked)),
                torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode='thread_local'
                ),
            ):
                logs = self._eager(
                    dict(inputs=data['inputs'], data_samples=samples, packed=static), optim_wrapper
                )
                values = torch.stack([x.detach().float().reshape(()) for x in logs.values()])
        except RuntimeError as error:
            self._stop(one_line(error, 200))
            optimizer.zero_grad(set_to_none=True)
        else:
            self._recordings[kind] = Recording(graph, static, list(logs), values)

    def _stop(self, reason: str) -> None:
        """Run all further steps eagerly.

        Without the recordings their memory is free for eager steps, which then use the kernels
        that are fastest for them. After a capture that failed, torch 2.11 leaves its random
        generator in capture mode, so no eager step could draw from it; a copy continues the same
        random stream.
        """
        self._warn(f'cuda_graph: the step cannot be recorded and runs eagerly ({reason})')
        self._stopped = True
        self._recordings.clear()
        let_launches_be_free(self.model, False)
        generator = torch.cuda.default_generators[self._device.index]
        generator.graphsafe_set_state(generator.clone_state())
        end_failed_capture(self._device.index, self._pool)

    def _rates_on_device(self, groups: list[dict[str, Any]]) -> list[Tensor]:
        """Return the learning rates of the optimizer's groups as tensors."""
        # Made once: every replay reads the memory of the tensors that were recorded.
        self._rates = self._rates or [torch.zeros((), device=self._device) for _ in groups]
        return [x.fill_(group['lr']) for x, group in zip(self._rates, groups, strict=True)]


@contextmanager
def _setting(groups: list[dict[str, Any]], key: str, values: list[Any]) -> Iterator[None]:
    """Replace a setting of the optimizer's groups in this block."""
    before = [group[key] for group in groups]
    for group, value in zip(groups, values, strict=True):
        group[key] = value
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group[key] = value


def _detached(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy the scalars of an eager step without their autograd graph.

    The graph keeps nodes on the stream of its step, which a later capture must not wait for.
    """
    return {name: value.detach().clone() for name, value in logs.items()}


def _replay(recording: Recording, batch: PackedBatch) -> dict[str, Tensor]:
    own = recording.batch
    own.images.copy_(batch.images, non_blocking=True)
    own.labels.copy_(batch.labels, non_blocking=True)
    own.sizes.copy_(batch.sizes, non_blocking=True)
    recording.graph.replay()
    # A copy, because the next replay overwrites the values.
    return dict(zip(recording.names, recording.values.clone().unbind(), strict=True))


def cannot_record(model: Any, optim_wrapper: OptimWrapper) -> str | None:
    """Return why a model's training step cannot become a CUDA graph; None if it may."""
    if is_distributed():
        # The wrapper of several processes has no data_preprocessor.
        return 'several processes exchange gradients'
    if isinstance(optim_wrapper, OptimWrapperDict):
        return 'several optimizers'
    packs = isinstance(model.data_preprocessor, BatchDataPreProcessor)
    scales = isinstance(optim_wrapper, AmpOptimWrapper)
    fused = all(group.get('fused') for group in optim_wrapper.optimizer.param_groups)
    reasons = {
        "it needs model.data_preprocessor.type='BatchDataPreProcessor'": not packs,
        'it needs optim_wrapper.optimizer.fused=True': not fused,
        'float16 has a loss scale, which was not tried: use bfloat16': scales,
        'optim_wrapper.clip_grad reads the norm in every step': optim_wrapper.clip_grad_kwargs,
        # With accumulation the wrapper divides the loss.
        'optim_wrapper.accumulative_counts is not 1': optim_wrapper.scale_loss(torch.ones(())) != 1,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)
