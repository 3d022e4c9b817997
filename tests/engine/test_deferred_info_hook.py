"""What is logged is what mmengine logs, fetched when it is read."""

import copy
import json
import pickle
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.hooks.deferred_info_hook import DeferredBuffer

# What makes the host wait for a GPU: the result is a number on the host, or its size depends
# on numbers on the device.
OPERATORS = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.bincount.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
}
METHODS = {torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy}


def kd_config(folder: Path, teacher: dict, **options: Any) -> Any:
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    return tiny_config(folder, model=model, **options)


def without_times(text: str) -> list[str]:
    lines = [line.split(' INFO - ', 1)[-1] for line in text.splitlines() if 'Iter(' in line]
    return [re.sub(r'(eta|time|data_time): [\d:.]+ *', '', line) for line in lines]


def test_the_log_is_mmengines(tmp_path: Path, teacher: dict) -> None:
    logged = []
    for name in ('DeferredInfoHook', 'RuntimeInfoHook'):
        options = dict(default_hooks__logger__interval=2, log_processor__window_size=4)
        cfg = kd_config(tmp_path / name, teacher, **options)
        cfg.default_hooks.runtime_info.type = name
        cfg.default_hooks.gradient_report = None
        build_runner(cfg).train()
        (scalars,) = (tmp_path / name).glob('*/vis_data/scalars.json')
        rows = [json.loads(line) for line in scalars.read_text().splitlines()]
        for row in rows:
            for key in ('time', 'data_time'):
                row.pop(key, None)
        (text,) = (tmp_path / name).glob('*/*.log')
        kept = read_checkpoint(tmp_path / name / 'iter_6.pth')['message_hub']['log_scalars']
        history = {
            key: [values.tolist() for values in log.data]
            for key, log in kept.items()
            if 'time' not in key
        }
        logged.append((rows, without_times(text.read_text()), history))
    ours, stock = logged
    assert len(stock[0]) == 5  # three log lines, two evaluations
    assert len(stock[2]['train/kl_loss'][0]) == 6
    assert ours == stock


class Operators(TorchDispatchMode):
    def __init__(self, counts: Counter) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        by_mask = func is torch.ops.aten.index.Tensor and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if func in OPERATORS or by_mask:
            self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    def __init__(self, counts: Counter) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        if func in METHODS:
            self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


class First(Hook):
    """Begin to watch an iteration."""

    def __init__(self, iteration: int, watch: ExitStack, counts: Counter) -> None:
        self.iteration, self.watch, self.counts = iteration, watch, counts

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == self.iteration:
            # Labels and images are on the host, and the preprocessor may look at them.
            batch = runner.model.data_preprocessor(data_batch, training=True)
            runner.model.data_preprocessor.forward = lambda *args: batch
            self.watch.enter_context(Operators(self.counts))
            self.watch.enter_context(Methods(self.counts))

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        vars(runner.model.data_preprocessor).pop('forward', None)


class Last(Hook):
    """Have watched the iteration."""

    def __init__(self, watch: ExitStack) -> None:
        self.watch = watch

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        self.watch.close()


def fetches(cfg: Any, iteration: int) -> Counter:
    """Count the fetches of an iteration (from 0), its hooks included."""
    runner = build_runner(cfg)
    counts, watch = Counter(), ExitStack()
    runner.register_hook(First(iteration, watch, counts), priority='HIGHEST')
    runner.register_hook(Last(watch), priority='LOWEST')
    runner.train()
    return counts


@pytest.mark.slow
def test_nothing_is_fetched_between_log_lines(tmp_path: Path, teacher: dict) -> None:
    options = dict(default_hooks__logger__interval=3, train_cfg__val_interval=6)
    options |= dict(default_hooks__checkpoint__interval=6)
    assert not fetches(kd_config(tmp_path / 'between', teacher, **options), iteration=3)
    # The means and values of a line are, once each.
    line = fetches(kd_config(tmp_path / 'line', teacher, **options), iteration=2)
    assert 0 < sum(line.values()) <= 12
    stock = kd_config(tmp_path / 'stock', teacher, **options)
    stock.default_hooks.runtime_info.type = 'RuntimeInfoHook'
    assert fetches(stock, iteration=3)['aten._local_scalar_dense.default'] == 9


def a_buffer(numbers: list[float]) -> DeferredBuffer:
    return DeferredBuffer(HistoryBuffer(numbers, [1] * len(numbers)))


def test_a_buffer_reads_like_mmengines() -> None:
    stock, ours = HistoryBuffer([0.5], [1]), a_buffer([0.5])
    for number in (1.25, 3.0, -2.0):
        stock.update(number)
        ours.update(torch.tensor(number, requires_grad=True))
    stock.update(7.0, 2)
    ours.update(7.0, 2)
    for method, window in [('mean', 2), ('mean', None), ('min', 3), ('max', 2)]:
        assert ours.statistics(method, window) == stock.statistics(method, window)
    assert ours.current() == stock.current() == 7.0
    ours.update(torch.tensor([4.5]))
    assert ours.current() == 4.5
    assert ours.data[0].tolist() == [0.5, 1.25, 3.0, -2.0, 7.0, 4.5]
    assert ours.data[1].tolist() == [1, 1, 1, 1, 2, 1]


def test_a_buffer_is_saved_as_mmengines() -> None:
    ours = a_buffer([0.5])
    ours.update(torch.tensor(1.5))
    for saved in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(saved) is HistoryBuffer
        assert saved.data[0].tolist() == [0.5, 1.5]
    # What was saved does not change with the log.
    saved = copy.deepcopy(ours)
    ours.update(2.5)
    assert saved.data[0].tolist() == [0.5, 1.5]


def test_a_buffer_has_a_length() -> None:
    ours = DeferredBuffer(HistoryBuffer([1.0, 2.0], [1, 1], max_length=3))
    ours.update(3.0)
    ours.update(4.0)
    assert ours.data[0].tolist() == [2.0, 3.0, 4.0]
