"""Pictures of predictions: drawn over their images, and as a grid after training."""

from collections.abc import Sequence
from numbers import Real
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
from prettytable import PrettyTable

from mmseg_kd.paths import relative
from mmseg_kd.visualization import Panel, prediction_grid

Samples = Sequence[SegDataSample]


@HOOKS.register_module()
class PaintingHook(SegVisualizationHook):
    """mmseg's SegVisualizationHook, also for images without a file, for example generated ones.

    The arguments are those of SegVisualizationHook. It is off unless `draw=True`, which
    `--show-dir` sets.
    """

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
        path, image = Path(outputs[i].img_path), data_batch['inputs'][i]
        # With test-time augmentation it is a list, after Normalize no picture.
        if getattr(image, 'dtype', 0) == torch.uint8 and image.shape == (3, *outputs[i].ori_shape):
            # BGR, turned by the EXIF orientation only if the pipeline does it.
            image = image.permute(1, 2, 0).numpy()[..., ::-1]
        else:
            image = mmcv.imread(path, channel_order='rgb')
        self._visualizer.add_datasample(
            f'{split}_{path.stem}',
            np.ascontiguousarray(image),
            data_sample=outputs[i],
            show=self.show,
            wait_time=self.wait_time,
            step=step,
        )


@HOOKS.register_module()
class PredictionGridHook(Hook):
    """Draw `predictions.png` in the work_dir after training, and log a table of the evaluations.

    The picture shows images spread over the validation split: the input, the ground truth, and the
    predictions of each teacher and of the model.

    Args:
        num_images: Rows of the picture.
    """

    # Before the checkpoint, which stores the evaluations.
    priority = 'LOW'

    def __init__(self, num_images: int = 4) -> None:
        self.num_images = num_images

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Store an evaluation for the table."""
        scores = {k: float(v) for k, v in (metrics or {}).items() if isinstance(v, Real)}
        history = runner.message_hub.get_info('evaluations', [])
        history = [row for row in history if row['iter'] != runner.iter]
        runner.message_hub.update_info('evaluations', [*history, {'iter': runner.iter, **scores}])

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw the picture and print the table."""
        if runner.val_loop is None:
            return
        history = runner.message_hub.get_info('evaluations', [])
        teacher = (runner.message_hub.get_info('teacher') or {}).get('metrics')
        if history:
            runner.logger.info('\n' + _table(history, teacher))
        file = Path(runner.work_dir) / 'predictions.png'
        prediction_grid(self._rows(runner), runner.val_dataloader.dataset.metainfo, file)
        runner.logger.info(f'input, ground truth and predictions: {relative(file)}')

    @torch.no_grad()
    def _rows(self, runner: Runner) -> list[list[Panel]]:
        dataset = runner.val_dataloader.dataset
        models = {name: teacher.segmentor for name, teacher in runner.teachers.items()}
        models['student' if models else 'prediction'] = runner.bare_model.eval().to(get_device())
        rows = []
        for place in np.unique(np.linspace(0, len(dataset) - 1, self.num_images).round()):
            sample = dataset[int(place)]
            image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
            labels = {'ground truth': sample['data_samples'].gt_sem_seg.data[0]}
            batch = pseudo_collate([sample])
            for name, segmentor in models.items():
                labels[name] = segmentor.test_step(batch)[0].pred_sem_seg.data[0].cpu()
            panels = [Panel(name, labels=one) for name, one in labels.items()]
            rows.append([Panel('input', image), *panels])
        return rows


def _table(history: list[dict], teacher: dict | None) -> str:
    names = [name for name in history[-1] if name != 'iter']
    best = max((r for r in history if 'mIoU' in r), key=lambda row: row['mIoU'], default=None)
    table = PrettyTable(['iteration', *names], align='r')
    for row in [*history, *([{'iter': 'teacher', **teacher}] if teacher else [])]:
        # A run that was resumed with another metric has other columns in earlier rows.
        cells = (f'{row[name]:.2f}' if name in row else '-' for name in names)
        mark = ' best' if row is best and len(history) > 1 else ''
        table.add_row([f'{row["iter"]}{mark}', *cells], divider=row is history[-1])
    return table.get_string()
