"""Pictures of predictions: over their images, and in a grid at the end of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.engine import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.paths import relative
from mmseg_kd.visualization import Panel, prediction_grid


@HOOKS.register_module()
class PaintingHook(SegVisualizationHook):
    """mmseg's SegVisualizationHook; a test also paints images in no file, such as generated ones.

    Arguments are SegVisualizationHook's; it is off until `draw=True`, as `--show-dir` sets it.
    """

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample]
    ) -> None:
        """Paint every image."""
        for i, sample in enumerate(outputs if self.draw else ()):
            path = Path(sample.img_path)
            if path.is_file():
                image = mmcv.imread(path, channel_order='rgb')
            else:
                # The pixels that the model saw, BGR.
                image = np.ascontiguousarray(_pixels(data_batch['inputs'][i]))
            self._test_index += 1
            self._visualizer.add_datasample(
                f'test_{path.stem}', image, data_sample=sample, step=self._test_index
            )


@HOOKS.register_module()
class PredictionGridHook(Hook):
    """Draw `predictions.png` in the work_dir after training.

    The picture shows, for images spread over the validation split, the input, the ground
    truth, the teacher's prediction where there is one, and the model's.

    Args:
        num_images: Rows of the picture.
    """

    def __init__(self, num_images: int = 4) -> None:
        self.num_images = num_images

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw the picture."""
        if runner.val_loop is None:
            return
        file = Path(runner.work_dir) / 'predictions.png'
        meta = runner.val_dataloader.dataset.metainfo
        with atomic_path(file) as partial:
            prediction_grid(self._rows(runner), meta['classes'], meta['palette'], partial)
        runner.logger.info(f'input, ground truth and predictions: {relative(file)}')

    @torch.no_grad()
    def _rows(self, runner: Runner) -> list[list[Panel]]:
        dataset = runner.val_dataloader.dataset
        model = runner.bare_model.eval().to(get_device())
        teacher = next(iter(runner.teachers.values()), None)
        models = {'prediction': model}
        if teacher is not None:
            models = {'teacher': teacher.segmentor, 'student': model}
        count = min(self.num_images, len(dataset))
        rows = []
        for index in np.linspace(0, len(dataset) - 1, count).round().astype(int):
            sample = dataset[int(index)]
            labels = {'ground truth': sample['data_samples'].gt_sem_seg.data[0]}
            batch = pseudo_collate([sample])
            for name, segmentor in models.items():
                labels[name] = segmentor.test_step(batch)[0].pred_sem_seg.data[0].cpu()
            panels = [Panel(name, labels=one) for name, one in labels.items()]
            rows.append([Panel('input', _pixels(sample['inputs'])), *panels])
        return rows


def _pixels(inputs: Tensor) -> np.ndarray:
    """The RGB pixels (H, W, 3) of an image (3, H, W) in BGR."""
    return inputs.permute(1, 2, 0).numpy()[..., ::-1]
