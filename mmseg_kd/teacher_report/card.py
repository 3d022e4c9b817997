"""The record of a teacher before training: its file, score, entropy and calibration."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, broadcast_object_list, collect_results, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from prettytable import PrettyTable
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mmseg_kd.distillation.teacher import Teacher, classes_of
from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.evaluation.calibration import pixel_statistics, summarise
from mmseg_kd.models.failures import SIZES, model_errors
from mmseg_kd.paths import relative
from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.run_record import read_run


def teacher_card(
    teacher: Teacher, dataloader: DataLoader | None, evaluator: Evaluator | None, name: str
) -> dict[str, Any]:
    """Measure a teacher on the student's validation split and compare it with the baseline.

    Args:
        teacher: The teacher, measured in float32.
        dataloader: Data loader of the validation split; None skips the measurement.
        evaluator: Computes the metrics; needed with a data loader only.
        name: Name of the teacher in the config; a single one is called 'teacher'.

    Returns:
        A record that JSON can hold:

        - `config`, `checkpoint`, `sha256`: the teacher's files
        - `data`: what it was measured on
        - `metrics`: the evaluator's finite ones, by name, in percent; empty without data
        - `entropy`, `ece`: see `summarise`; None without data or without a labelled pixel
        - `deterministic`: whether two forwards of one batch gave the same bits, or None
        - `baseline`: `dict(mIoU=..., source=...)` of `find_baseline`, or None
        - `difference`: teacher minus baseline, in points of mIoU, or None

    Raises:
        UserError: The baseline cannot be read, or the teacher's logits are not finite.
    """
    # Read first, because a mistake in it should not cost an evaluation.
    baseline = find_baseline(teacher.baseline, name)
    data, measured = 'none', dict(metrics={}, entropy=None, ece=None, deterministic=None)
    if dataloader is not None:
        dataset = dataloader.dataset
        data = f'{type(dataset).__name__} {getattr(dataset, "split", "")}'.strip()
        data += f', {len(dataset)} images'
        print_log(f'evaluating the teacher {teacher.checkpoint} on the validation split', 'current')
        measured = measure(teacher, dataloader, evaluator)
    miou = measured['metrics'].get('mIoU')
    compared = miou is not None and baseline is not None
    return {
        'config': teacher.config,
        'checkpoint': teacher.checkpoint,
        'sha256': teacher.sha256,
        'data': data,
        **measured,
        'baseline': baseline,
        'difference': round(miou - baseline['mIoU'], 2) if compared else None,
    }


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
    ignored = (m.ignore_index for m in evaluator.metrics if hasattr(m, 'ignore_index'))
    ignore_index = next(ignored, 255)
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
            with model_errors(segmentor, 'an evaluated image', SIZES, whose='teacher'):
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
    # 'gpu' gathers through the process group on every device. Images that only fill up a share
    # are dropped, as for the metrics.
    gathered = collect_results(rows, size, 'gpu')
    total = [torch.stack(gathered).sum(dim=0) if is_main_process() else None]
    broadcast_object_list(total)
    (statistics,) = total
    if not statistics.isfinite().all():
        raise UserError(
            f"the teacher's logits are not all finite ({teacher.checkpoint}): its training "
            'diverged, or the file is damaged; name another checkpoint'
        )
    same = torch.tensor(float(deterministic))
    all_reduce(same, op='min')
    entropy, ece = summarise(statistics)
    # A metric is NaN if the split has nothing for it, such as junctions. JSON has no NaN.
    metrics = {k: float(v) for k, v in evaluator.evaluate(size).items() if math.isfinite(v)}
    return dict(metrics=metrics, entropy=entropy, ece=ece, deterministic=bool(same))


def find_baseline(baseline: float | str | None, name: str = 'teacher') -> dict[str, Any] | None:
    """Return the best mIoU of the student without a teacher.

    Args:
        baseline: mIoU in percent, the work_dir of the student's plain training, of which the
            best evaluation counts, or None.
        name: Name of the teacher, for messages.

    Returns:
        `dict(mIoU=..., source=...)`, the mIoU in percent; None without a baseline.

    Raises:
        UserError: It is none of these, or the work_dir is missing or has no evaluation.
    """
    if baseline is None:
        return None
    key = 'model.teacher.baseline' if name == 'teacher' else f'model.teacher.{name}.baseline'
    # With a fraction such as 0.64, every teacher would look good.
    if is_number(baseline) and (baseline == 0 or 1 < baseline <= 100):
        return {'mIoU': float(baseline), 'source': key}
    if not isinstance(baseline, str):
        raise UserError(
            f'{key}: {baseline!r} is not an mIoU in percent; write a number such as 64.1, or the '
            "work_dir of the student's plain training"
        )
    with user_errors(f'{key}: ', UserError, after='; train the baseline first, or write None'):
        best = read_run(baseline).best('mIoU')
    if best is None:
        raise UserError(
            f'{key}: {baseline} has no evaluation; name the work_dir of a training that validated, '
            'or write the mIoU in percent as a number'
        )
    source = f'{baseline}, iteration {best["iteration"]}'
    return {'mIoU': round(float(best['mIoU']), 2), 'source': source}


def check_classes(teacher: Teacher, classes: Sequence[str] | None) -> None:
    """Raise UserError where the class ids of teacher and student differ.

    Args:
        teacher: The teacher, whose checkpoint may name its classes.
        classes: The student's, in the order of their ids.
    """
    theirs, own = _spellings(teacher.classes), _spellings(classes)
    if theirs == own or not (theirs and own):
        return
    if sorted(theirs) == sorted(own):
        problem = 'the same classes in another order; train them on labels of one order'
    elif len(theirs) != len(own):
        problem = f'{len(theirs)} classes instead of {len(own)}'
    else:
        pairs = enumerate(zip(teacher.classes, classes, strict=True))
        ids = [f'{i} {pair}' for i, pair in pairs if theirs[i] != own[i]]
        problem = (
            f'other classes: ids {", ".join(ids)} differ; if only the names differ, write '
            f'model.teacher.classes={list(classes)} in the config'
        )
    raise UserError(
        f'the teacher {teacher.checkpoint} has the classes {list(teacher.classes)}, the student '
        f'{list(classes)}. The teacher was trained on {problem}'
    )


def check_order(meta: Any, classes: Sequence[str] | None, source: str) -> None:
    """Raise UserError where a checkpoint has the classes of a data set in another order.

    Args:
        meta: The `meta` of the checkpoint, which may name its classes.
        classes: Those of the data set, in the order of their ids.
        source: The checkpoint, for the message.
    """
    theirs, own = _spellings(classes_of(meta)), _spellings(classes)
    if theirs != own and sorted(theirs) == sorted(own):
        raise UserError(
            f'{source} has the classes {classes_of(meta)}, the data set {list(classes)}: the same '
            'ones in another order; convert the data with ids in the order of the checkpoint'
        )


def _spellings(classes: Sequence[object] | None) -> list[str]:
    """Return class names without case, spaces, `_` and `-`, in which data sets differ."""
    return [re.sub(r'[\s_-]', '', str(name)).casefold() for name in classes or ()]


def card_table(cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the records of `teacher_card` as a table, one row per teacher."""
    scores = list(dict.fromkeys(name for card in cards.values() for name in card['metrics']))
    others = [name for name in scores if name.startswith('mIoU') and name != 'mIoU']
    columns = ['teacher', 'mIoU', 'baseline', 'difference', *others, 'entropy [nats]', 'ECE']
    table = PrettyTable([*columns, 'deterministic', 'sha256'])
    table.align, table.float_format, table.none_format = 'r', '.2', '-'
    table.align['teacher'] = 'l'
    table.float_format['entropy [nats]'] = table.float_format['ECE'] = '.3'
    for name, card in cards.items():
        metrics, baseline = card['metrics'], card['baseline'] or {}
        difference = None if card['difference'] is None else f'{card["difference"]:+.2f}'
        row = [name, metrics.get('mIoU'), baseline.get('mIoU'), difference]
        row += [*map(metrics.get, others), card['entropy'], card['ece']]
        row += [{True: 'yes', False: 'NO', None: None}[card['deterministic']], card['sha256'][:8]]
        table.add_row(row)
    lines = [table.get_string()]
    for name, card in cards.items():
        lines.append(f'{name}: {relative(card["checkpoint"])} on {card["data"]}')
        if card['baseline']:
            lines.append(f'baseline: {card["baseline"]["source"]}')
    return '\n'.join(lines)


def card_warnings(cards: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield warnings about teachers, a sentence each."""
    for name, card in cards.items():
        who = 'the teacher' if len(cards) == 1 else f'the teacher {name!r}'
        difference = card['difference']
        if difference is not None and difference <= 0:
            lead = 'only as much as' if difference == 0 else f'{-difference:.2f} points less than'
            yield (
                f"{who} does not beat the student's baseline: its mIoU is "
                f'{card["metrics"]["mIoU"]:.2f}, {lead} the {card["baseline"]["mIoU"]:.2f} of '
                f'{card["baseline"]["source"]}. A teacher like this rarely helps: improve it first'
            )
