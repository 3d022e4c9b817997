"""What is known of a teacher before it teaches: its score, its doubts, its file."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_reduce, broadcast_object_list, collect_results, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from prettytable import PrettyTable
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmseg_kd import __version__
from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.engine.json_lines import read_json_lines
from mmseg_kd.engine.summary import relative
from mmseg_kd.errors import UserError
from mmseg_kd.models.kd_encoder_decoder import teachers_by_name

# As in the paper.
BINS = 15
# What a record adds to the identity that it is looked up by.
MEASURED = ('metrics', 'entropy', 'ece', 'deterministic')


def teacher_card(
    teacher: Teacher,
    cfg: Config,
    dataloader: DataLoader | None,
    evaluator: Evaluator | None,
    work_dir: str | Path | None = None,
    name: str = 'teacher',
) -> dict[str, Any]:
    """Measure a teacher on the student's validation split, or read what was measured before.

    The measurement is kept in `<checkpoint>.card.json`, a list of records beside the
    checkpoint, and found there again for the same file, data, settings and device, whichever
    run asks. Where that folder is read-only, `teacher.json` in the work_dir is all there is. A
    file that is damaged or holds something else counts as missing.

    Args:
        teacher: Who is measured, in float32 whatever its `dtype`.
        cfg: The student's config; names the data, the evaluator and an inline teacher.
        dataloader: Of the validation split; None leaves the measurement out.
        evaluator: Counts the metrics; with a data loader only.
        work_dir: The student's, whose `teacher.json` is looked into too; nothing is written.
        name: The teacher's among several, for its place in the config.

    Returns:
        A record that JSON can hold:

        - `config`, `checkpoint`, `sha256`: the teacher's files
        - `data`, `settings`, `device`: what it was measured on, with hashes of all settings
        - `metrics`: the evaluator's, by name; `mIoU` and others in percent; empty without data
        - `entropy`, `ece`: see `summarise`; None without data or without a labelled pixel
        - `deterministic`: whether two forwards of one batch gave the same bits, or None
        - `baseline`: `dict(mIoU=..., source=...)` of `find_baseline`, or None
        - `difference`: teacher minus baseline, in points of mIoU, or None

    Raises:
        UserError: The baseline cannot be read, or the teacher's logits are not finite.
    """
    # First, because a mistake in it should not cost an evaluation.
    key = 'model.teacher' if name == 'teacher' else f'model.teacher.{name}'
    baseline = find_baseline(teacher.baseline, f'{key}.baseline')
    files = {'config': teacher.config, 'checkpoint': teacher.checkpoint}
    identity = _identity(teacher, cfg, dataloader, name)
    measured: dict[str, Any] | None = {'metrics': {}} | dict.fromkeys(MEASURED[1:])
    if dataloader is not None:
        measured = _look_up(teacher, identity, work_dir)
        if measured is None:
            MMLogger.get_current_instance().info(
                f'evaluating the teacher {teacher.checkpoint} on the validation split'
            )
            measured = measure(teacher, dataloader, evaluator)
            _keep(teacher, identity, files | identity | measured)
    miou = measured['metrics'].get('mIoU')
    compared = miou is not None and baseline is not None
    return {
        **files,
        **identity,
        **measured,
        'baseline': baseline,
        'difference': round(miou - baseline['mIoU'], 2) if compared else None,
    }


@torch.no_grad()
def measure(teacher: Teacher, dataloader: DataLoader, evaluator: Evaluator) -> dict[str, Any]:
    """Run a teacher once over a data loader, in float32; the random streams stay as they are.

    Each process runs its share. Images that several see, to make the shares equal, count once.

    Args:
        teacher: Who is measured.
        dataloader: Of labelled images.
        evaluator: Counts the metrics. Pixels that it ignores count for nothing else either.

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
        for i, batch in enumerate(_with_progress(dataloader)):
            samples = segmentor.test_step(batch)
            if i == 0:
                # Taken out first: a sample may be the batch's own, and hold the last answer.
                first = [sample.seg_logits.data for sample in samples]
                samples = segmentor.test_step(batch)
                deterministic = all(
                    torch.equal(logits, sample.seg_logits.data)
                    for logits, sample in zip(first, samples, strict=True)
                )
            for sample in samples:
                ids = sample.pred_sem_seg.data[0]
                label = sample.gt_sem_seg.data[0]
                rows.append(pixel_statistics(sample.seg_logits.data, ids, label, ignore_index))
            evaluator.process(data_samples=samples, data_batch=batch)
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
    return {
        'metrics': evaluator.evaluate(size),
        'entropy': entropy,
        'ece': ece,
        'deterministic': bool(same),
    }


def pixel_statistics(
    logits: Tensor, prediction: Tensor, label: Tensor, ignore_index: int = 255, bins: int = BINS
) -> Tensor:
    """Sum what entropy and calibration need over the pixels of an image.

    Args:
        logits: Logits (K, H, W) at the size of the label; for K = 1, as mmseg has it, the
            probability of the second of two classes.
        prediction: Predicted ids (H, W).
        label: True ids (H, W), on any device.
        ignore_index: Label of pixels to leave out.
        bins: Equal parts of the confidences; part i holds those in (i / bins, (i + 1) / bins].

    Returns:
        Sums (4, bins) by confidence: pixels, their confidence, those predicted rightly, and
        their entropy in nats of the softmax at temperature 1.
    """
    if len(logits) == 1:
        probability = torch.cat([1 - logits, logits]).float()
    else:
        probability = logits.float().softmax(dim=0)
    label = label.to(logits.device)
    # The sum of a whole image's confidences does not fit a float32, and MPS has nothing wider.
    wide = torch.float32 if logits.device.type == 'mps' else torch.float64
    confidence = probability.amax(dim=0).to(wide)
    # NaN has no bin; its sums tell of it all the same.
    part = (confidence.nan_to_num() * bins).ceil().long().sub(1).clamp(0, bins - 1)
    # To select pixels a GPU would have to tell the host how many.
    part = part.masked_fill(label == ignore_index, bins).flatten()
    values = torch.stack(
        [
            torch.ones_like(confidence),
            confidence,
            (prediction == label).to(wide),
            torch.special.entr(probability).sum(dim=0).to(wide),
        ]
    ).flatten(1)
    sums = values.new_zeros(4, bins + 1)
    return sums.scatter_add_(1, part.expand_as(values), values)[:, :bins]


def summarise(statistics: Tensor) -> tuple[float | None, float | None]:
    """Mean entropy and expected calibration error.

    The error is the mean over the pixels of |accuracy - confidence|, both of a pixel's bin
    (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3).

    Args:
        statistics: Sums (4, bins) of `pixel_statistics`.

    Returns:
        The entropy in nats a pixel, from 0 to ln K, and the error, from 0 to 1; None for both
        where there are no pixels.
    """
    pixels, confidence, right, entropy = statistics
    count = float(pixels.sum())
    if not count:
        return None, None
    return float(entropy.sum()) / count, float((right - confidence).abs().sum()) / count


def find_baseline(
    baseline: float | str | None, key: str = 'model.teacher.baseline'
) -> dict[str, Any] | None:
    """Read what a teacher has to beat: the best mIoU of the student without it.

    Args:
        baseline: mIoU in percent, the work_dir of the student's plain training, of which the
            best evaluation counts, or None.
        key: Where the config says so.

    Returns:
        `dict(mIoU=..., source=...)`, in percent and where it is from; None where not known.

    Raises:
        UserError: It is neither, or the work_dir is missing or has no evaluation.
    """
    number = isinstance(baseline, int | float) and not isinstance(baseline, bool)
    if baseline is None:
        return None
    # A fraction would make every teacher look good.
    if number and (baseline == 0 or 1 < baseline <= 100):
        return {'mIoU': float(baseline), 'source': key}
    if number or not isinstance(baseline, str):
        raise UserError(
            f'{key}: {baseline!r} is no mIoU in percent; write a number such as 64.1, or the '
            "work_dir of the student's plain training"
        )
    folder = Path(baseline)
    if not folder.is_dir():
        raise UserError(
            f"{key}: the work_dir {baseline} does not exist; train the student's plain config "
            'first, or write its mIoU in percent as a number'
        )
    # A run that was resumed has a folder for each start.
    rows = [
        row
        for file in sorted(folder.glob('*/vis_data/scalars.json'))
        for row in read_json_lines(file)[0]
    ]
    rows = [row for row in rows if _is_number(row.get('mIoU'))]
    if not rows:
        raise UserError(
            f'{key}: {baseline} has no evaluation (no mIoU in its */vis_data/scalars.json); name '
            'the work_dir of a training that validated, or write the mIoU in percent as a number'
        )
    best = max(rows, key=lambda row: row['mIoU'])
    source = f'{baseline}, iteration {best.get("step", "unknown")}'
    return {'mIoU': round(float(best['mIoU']), 2), 'source': source}


def check_classes(teacher: Teacher, classes: Sequence[str] | None) -> None:
    """Raise UserError where teacher and student number the classes otherwise.

    Args:
        teacher: Its checkpoint may say which classes it knows.
        classes: The student's, in the order of their ids.
    """
    if teacher.classes and classes and list(teacher.classes) != list(classes):
        raise UserError(
            f'the teacher ({teacher.checkpoint}) was trained on other classes or in another '
            f'order: {list(teacher.classes)}, the student on {list(classes)}'
        )


def card_table(cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out the records of `teacher_card`, by the teachers' names, a row each."""
    scores = list(dict.fromkeys(name for card in cards.values() for name in card['metrics']))
    others = [name for name in scores if name.startswith('mIoU') and name != 'mIoU']
    table = PrettyTable(
        [
            'teacher',
            'mIoU',
            'baseline',
            'difference',
            *others,
            'entropy [nats]',
            'ECE',
            'deterministic',
            'sha256',
        ]
    )
    table.align = 'r'
    table.align['teacher'] = 'l'
    for name, card in cards.items():
        metrics, baseline = card['metrics'], card['baseline'] or {}
        table.add_row(
            [
                name,
                _cell(metrics.get('mIoU'), '.2f'),
                _cell(baseline.get('mIoU'), '.2f'),
                _cell(card['difference'], '+.2f'),
                *(_cell(metrics.get(other), '.2f') for other in others),
                _cell(card['entropy'], '.3f'),
                _cell(card['ece'], '.3f'),
                {True: 'yes', False: 'NO', None: '-'}[card['deterministic']],
                card['sha256'][:8],
            ]
        )
    lines = [table.get_string()]
    for name, card in cards.items():
        lines.append(f'{name}: {relative(card["checkpoint"])} on {card["data"]}')
        if card['baseline']:
            lines.append(f'baseline: {card["baseline"]["source"]}')
    return '\n'.join(lines)


def card_warnings(cards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a user should know before training with these teachers, a sentence each."""
    found = []
    for name, card in cards.items():
        who = 'the teacher' if len(cards) == 1 else f'the teacher {name!r}'
        difference = card['difference']
        if difference is not None and difference <= 0:
            lead = 'only as much as' if difference == 0 else f'{-difference:.2f} points less than'
            found.append(
                f"{who} does not beat the student's baseline: its mIoU is "
                f'{card["metrics"]["mIoU"]:.2f}, {lead} the {card["baseline"]["mIoU"]:.2f} of '
                f'{card["baseline"]["source"]}. Such a teacher can hardly help: improve it first'
            )
        if card['deterministic'] is False:
            found.append(
                f'{who} gave two answers to one batch on this device: its logits cannot be '
                'reproduced bit for bit, so neither can the training; '
                'randomness.deterministic=True may help'
            )
    return found


def _cell(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def _identity(
    teacher: Teacher, cfg: Config, dataloader: DataLoader | None, name: str
) -> dict[str, str]:
    """What a measurement depends on. Where the files lie is no part of it."""
    data = 'none'
    if dataloader is not None:
        dataset = dataloader.dataset
        # How the images are kept in memory says nothing about them.
        settings = {k: v for k, v in cfg.val_dataloader.dataset.items() if k != 'cache_mib'}
        settings = [settings, _files_of(dataset)]
        data = (
            f'{type(dataset).__name__} {getattr(dataset, "split", "")}, {len(dataset)} images, '
            f'{_short_hash(settings)}'
        )
    # One file's weights can be read by two configs, of other heads or another test_cfg.
    if Path(teacher.config).is_file():
        model = Config.fromfile(teacher.config).model
    else:
        model = teachers_by_name(cfg.model.teacher)[name]['config']
    device = torch.cuda.get_device_name() if get_device() == 'cuda' else get_device()
    repeatable = [
        (cfg.get('randomness') or {}).get('deterministic', False),
        (cfg.get('env_cfg') or {}).get('cudnn_benchmark', False),
    ]
    return {
        'sha256': teacher.sha256,
        'data': data,
        'settings': _short_hash([model, cfg.get('val_evaluator'), BINS, repeatable, __version__]),
        'device': device,
    }


def _files_of(dataset: Dataset) -> list[tuple[str, int, int]]:
    """Name, size and time of each image and label: a corrected label is other data."""
    samples = dataset.load_data_list() if hasattr(dataset, 'load_data_list') else []
    files = [Path(str(x.get(key))) for x in samples for key in ('img_path', 'seg_map_path')]
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]


def _short_hash(settings: Any) -> str:
    # A config that was written out and read again has its keys in another order.
    text = json.dumps(settings, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _cache_file(teacher: Teacher) -> Path:
    checkpoint = Path(teacher.checkpoint)
    return checkpoint.with_name(f'{checkpoint.name}.card.json')


def _look_up(
    teacher: Teacher, identity: dict[str, str], work_dir: str | Path | None
) -> dict[str, Any] | None:
    # One process decides: on a network folder another may not see the file yet.
    found: list[dict | None] = [None]
    if is_main_process():
        files = [_cache_file(teacher)]
        files += [Path(work_dir) / 'teacher.json'] if work_dir is not None else []
        for file in files:
            for record in _records(file):
                if found[0] is None and _fits(record, identity):
                    found = [{key: record[key] for key in MEASURED}]
                    MMLogger.get_current_instance().info(
                        f"the teacher's card is from {relative(file)}"
                    )
    broadcast_object_list(found)
    return found[0]


def _keep(teacher: Teacher, identity: dict[str, str], record: dict[str, Any]) -> None:
    if not is_main_process():
        return
    file = _cache_file(teacher)
    others = [
        other
        for other in _records(file)
        if isinstance(other, dict) and 'sha256' in other and not _is_of(other, identity)
    ]
    try:
        with atomic_path(file) as partial:
            partial.write_text(json.dumps([*others, record], indent=2), encoding='utf-8')
    except OSError:
        # Teachers may lie in a read-only folder; the work_dir's record is read as well.
        pass


def _records(file: Path) -> list:
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return []
    if isinstance(content, dict):
        # teacher.json: a record, or one for each teacher.
        content = [content] if 'sha256' in content else list(content.values())
    return content if isinstance(content, list) else []


def _is_of(record: dict, identity: dict[str, str]) -> bool:
    return all(record.get(key) == value for key, value in identity.items())


def _fits(record: Any, identity: dict[str, str]) -> bool:
    if not isinstance(record, dict) or not set(MEASURED) <= set(record):
        return False
    metrics = record['metrics']
    return (
        _is_of(record, identity)
        and isinstance(metrics, dict)
        and bool(metrics)
        and all(map(_is_number, metrics.values()))
        and all(record[key] is None or _is_number(record[key]) for key in ('entropy', 'ece'))
        and isinstance(record['deterministic'], bool)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sum_over_images(rows: list[Tensor], size: int) -> Tensor:
    rows = list(torch.stack(rows).cpu().double())
    # 'gpu' gathers through the process group, whatever it runs on. As for the metrics, images
    # that only fill up a share are dropped.
    gathered = collect_results(rows, size, 'gpu')
    total = [torch.stack(gathered).sum(dim=0) if is_main_process() else None]
    broadcast_object_list(total)
    return total[0]


def _with_progress(dataloader: DataLoader) -> tqdm:
    return tqdm(
        dataloader,
        desc='teacher',
        unit='it',
        dynamic_ncols=True,
        leave=False,
        disable=not (is_main_process() and sys.stderr.isatty()),
    )
