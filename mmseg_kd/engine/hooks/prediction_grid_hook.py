"""A picture and a table at the end of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from prettytable import PrettyTable

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.paths import relative
from mmseg_kd.visualization import Panel, prediction_grid


@HOOKS.register_module()
class PredictionGridHook(Hook):
    """After training: `predictions.png` in the work_dir, and the evaluations as a table.

    The picture shows, for images spread over the validation split, the input, the ground
    truth, the teacher's prediction where there is one, and the model's.

    Args:
        num_images: Rows of the picture.
    """

    # Before the checkpoint, which keeps the evaluations.
    priority = 'LOW'

    def __init__(self, num_images: int = 4) -> None:
        self.num_images = num_images

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keep an evaluation for the table."""
        scores = {k: v for k, v in (metrics or {}).items() if isinstance(v, int | float)}
        history = runner.message_hub.get_info('evaluations', [])
        history = [row for row in history if row['iter'] != runner.iter]
        runner.message_hub.update_info('evaluations', [*history, {'iter': runner.iter, **scores}])

    def after_train(self, runner: Runner) -> None:
        """Draw the picture and print the table."""
        if not is_main_process() or runner.val_loop is None:
            return
        history = runner.message_hub.get_info('evaluations', [])
        teacher = (runner.message_hub.get_info('teacher') or {}).get('metrics')
        if history:
            runner.logger.info('\n' + _table(history, teacher))
        file = Path(runner.work_dir) / 'predictions.png'
        with atomic_path(file) as partial:
            self._draw(runner, Path(partial))
        runner.logger.info(f'input, ground truth and predictions: {relative(file)}')

    @torch.no_grad()
    def _draw(self, runner: Runner, file: Path) -> None:
        dataset = runner.val_dataloader.dataset
        model = runner.bare_model
        teacher = getattr(model, 'teacher', None)
        models = {'teacher': teacher.segmentor} if teacher is not None else {}
        models['student' if models else 'prediction'] = model
        model.eval().to(get_device())
        count = min(self.num_images, len(dataset))
        rows = []
        for index in np.linspace(0, len(dataset) - 1, count).round().astype(int):
            sample = dataset[int(index)]
            image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
            row = [Panel('input', image)]
            row.append(Panel('ground truth', labels=sample['data_samples'].gt_sem_seg.data[0]))
            for name, segmentor in models.items():
                batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
                prediction = segmentor.test_step(batch)[0].pred_sem_seg.data[0].cpu()
                row.append(Panel(name, labels=prediction))
            rows.append(row)
        prediction_grid(rows, dataset.metainfo['classes'], dataset.metainfo['palette'], file)


def _table(history: list[dict], teacher: dict | None) -> str:
    names = [name for name in history[-1] if name != 'iter']
    best = max(history, key=lambda row: row.get('mIoU', 0))
    table = PrettyTable(['iteration', *names])
    table.align = 'r'
    for row in history:
        mark = ' best' if row is best and len(history) > 1 else ''
        # After resuming with another metric, rows differ.
        cells = (f'{row[name]:.2f}' if name in row else '-' for name in names)
        table.add_row([f'{row["iter"]}{mark}', *cells], divider=row is history[-1])
    if teacher:
        table.add_row(['teacher', *(f'{teacher[n]:.2f}' if n in teacher else '-' for n in names)])
    return table.get_string()
