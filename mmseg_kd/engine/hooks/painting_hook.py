"""Predictions painted over their images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.runner import Runner
from mmseg.engine import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

Samples = Sequence[SegDataSample]


@HOOKS.register_module()
class PaintingHook(SegVisualizationHook):
    """mmseg's SegVisualizationHook for images that may be in no file, such as generated ones.

    Arguments are SegVisualizationHook's; it is off until `draw=True`, as `--show-dir` sets it.
    """

    def __init__(self, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            # mmseg warns that the hook is off, which is the default.
            warnings.simplefilter('ignore')
            super().__init__(**kwargs)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Samples
    ) -> None:
        """Paint the first image of every `interval`-th batch."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._paint('val', data_batch, outputs, 0, step)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Samples
    ) -> None:
        """Paint every image."""
        for i in range(len(outputs) if self.draw else 0):
            self._test_index += 1
            self._paint('test', data_batch, outputs, i, self._test_index)

    def _paint(self, split: str, data_batch: dict, outputs: Samples, i: int, step: int) -> None:
        path = Path(outputs[i].img_path)
        if path.is_file():
            image = mmcv.imread(path, channel_order='rgb')
        else:
            # The pixels that the model saw, BGR.
            image = data_batch['inputs'][i].permute(1, 2, 0).numpy()[..., ::-1]
        self._visualizer.add_datasample(
            f'{split}_{path.stem}',
            np.ascontiguousarray(image),
            data_sample=outputs[i],
            show=self.show,
            wait_time=self.wait_time,
            step=step,
        )
