"""Measurement of a teacher on labelled images: score, entropy and calibration."""

import math
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, broadcast_object_list, collect_results, is_main_process
from mmengine.evaluator import Evaluator
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.errors import UserError
from mmseg_kd.evaluation.calibration import pixel_statistics, summarise


@torch.no_grad()
def measure(teacher: Teacher, dataloader: DataLoader, evaluator: Evaluator) -> dict[str, Any]:
    """Measure a teacher on a data loader, in float32, without changing the random streams.

    Each process runs its share. Images that several see, to make the shares equal, count once.

    Args:
        teacher: The teacher.
        dataloader: Data loader of labelled images.
        evaluator: Computes the metrics. Pixels that it ignores count nowhere else either.

    Returns:
        `metrics`, `entropy`, `ece` and `deterministic`, as in `teacher_card`.

    Raises:
        UserError: The teacher's logits are not finite.
    """
    evaluator.dataset_meta = dataloader.dataset.metainfo
    ignore_index = next(
        (m.ignore_index for m in evaluator.metrics if hasattr(m, 'ignore_index')), 255
    )
    segmentor = teacher.segmentor.to(get_device())
    rows: list[Tensor] = []
    deterministic = True
    # The data loader draws its seed from the stream that the student trains with.
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        # None hides the bar where standard error is not a terminal.
        hidden = None if is_main_process() else True
        bar = tqdm(dataloader, 'teacher', leave=False, dynamic_ncols=True, disable=hidden)
        for i, batch in enumerate(bar):
            samples = segmentor.test_step(batch)
            if i == 0:
                # Read before the second pass, which may write into the same samples.
                first = [sample.seg_logits.data for sample in samples]
                samples = segmentor.test_step(batch)
                second = [sample.seg_logits.data for sample in samples]
                deterministic = all(map(torch.equal, first, second))
            # First, because it checks the size of the labels.
            evaluator.process(data_samples=samples, data_batch=batch)
            for sample in samples:
                ids, label = sample.pred_sem_seg.data[0], sample.gt_sem_seg.data[0]
                rows.append(pixel_statistics(sample.seg_logits.data, ids, label, ignore_index))
    size = len(dataloader.dataset)
    statistics = _sum_over_images(rows, size)
    if not statistics.isfinite().all():
        raise UserError(
            f"the teacher's logits are not all finite ({teacher.checkpoint}): its training "
            'diverged, or the file is damaged; name another checkpoint'
        )
    same = torch.tensor(float(deterministic))
    all_reduce(same, op='min')
    entropy, ece = summarise(statistics)
    # A metric is NaN if the split has nothing for it, such as junctions. JSON has no NaN.
    metrics = {k: v for k, v in evaluator.evaluate(size).items() if math.isfinite(v)}
    return dict(metrics=metrics, entropy=entropy, ece=ece, deterministic=bool(same))


def _sum_over_images(rows: list[Tensor], size: int) -> Tensor:
    # 'gpu' gathers through the process group on every device. Images that only fill up a share
    # are dropped, as for the metrics.
    gathered = collect_results(rows, size, 'gpu')
    total = [torch.stack(gathered).sum(dim=0) if is_main_process() else None]
    broadcast_object_list(total)
    return total[0]
