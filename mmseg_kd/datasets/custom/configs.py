"""Write the configs of a converted data set: its data, a baseline, a teacher and a student."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from mmseg_kd.datasets.custom.converting import Counts
from mmseg_kd.datasets.custom.masks import Legend

BASES = Path(__file__).resolve().parents[3] / 'local_configs' / '_base_'
# Pixels of the longer side and of the crop's sides at most; the crop is a multiple of 32.
LONGEST, LARGEST_CROP, STEP = 1024, 512, 32
ITERATIONS, INTERVAL = 4000, 500

DATA = """\
# Written by tools/dataset_converters/custom.py. Change what you like.
data_root = {root!r}
metainfo = dict(
    classes={classes!r},
    palette={palette!r},
)
# Median-frequency weights, for rare classes:
# model.decode_head.loss_decode.class_weight={weights}
crop_size = {crop}

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='SegAugment', scale={scale}, ratio_range=(0.5, 2.0), cat_max_ratio=0.75),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale={scale}, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
_data = dict(
    type='BaseSegDataset',
    data_root=data_root,
    metainfo=metainfo,
    data_prefix=dict(img_path='images', seg_map_path='masks'),
    # The lists have the images' suffixes; a mask is named image.jpg.png.
    img_suffix='',
    seg_map_suffix='.png',
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(**_data, ann_file='train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**_data, ann_file='val.txt', pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**_data, ann_file='{test}.txt', pipeline=test_pipeline),
)
val_evaluator = dict(type='SegmentationMetric')
test_evaluator = dict(type='SegmentationMetric')
"""
MODEL = """\
# {role}: SegFormer-{size}, from scratch. With ImageNet weights, which are much better, write
# pretrained='pretrained/mit_{small}.pth' and take adamw_40k.py in the place of adamw_scratch.py.
_base_ = [
    {model!r},
    './data.py',
    {schedule!r},
    {runtime!r},
]
model = dict(pretrained=None, decode_head=dict(num_classes={count}))
train_cfg = dict(max_iters={iterations}, val_interval={interval})
default_hooks = dict(checkpoint=dict(interval={interval}))
work_dir = 'work_dirs/{name}_{folder}'
"""
STUDENT = """\
# Student: the baseline, and the teacher with three losses.
_base_ = './baseline.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config={teacher!r},
        checkpoint='work_dirs/{name}_teacher/iter_{iterations}.pth',
        baseline='work_dirs/{name}_baseline',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/{name}_student'
"""


def write_configs(
    folder: Path, dest: Path, legend: Legend, counts: Counts, tested: bool
) -> list[str]:
    """Write `data.py`, `baseline.py`, `teacher.py` and `student.py` of a data set.

    Args:
        folder: Where to write.
        dest: The folder of the data set in the end.
        legend: The classes.
        counts: Of the images.
        tested: Whether there is a test split; else the test reads val.

    Returns:
        The names of the last three.
    """
    width, height = (round(statistics.median(sides)) for sides in zip(*counts.sizes, strict=True))
    scale = min(1.0, LONGEST / max(width, height))
    width, height = round(width * scale), round(height * scale)
    crop = tuple(max(STEP, min(side, LARGEST_CROP) // STEP * STEP) for side in (height, width))
    root = dest.resolve().as_posix()
    shared = dict(
        name=dest.resolve().name, count=len(legend.names), iterations=ITERATIONS, interval=INTERVAL
    )
    texts = {
        'data.py': DATA.format(
            root=root,
            classes=tuple(legend.names),
            palette=[list(colour) for colour in legend.palette],
            weights=str(counts.weights()).replace(' ', ''),
            crop=crop,
            scale=(width, height),
            test='test' if tested else 'val',
        )
    }
    for role, size in (('baseline', 'B0'), ('teacher', 'B2')):
        texts[f'{role}.py'] = MODEL.format(
            role=role.capitalize(),
            size=size,
            small=size.lower(),
            folder=role,
            model=_base(f'models/segformer_{size.lower()}.py', dest),
            schedule=_base('schedules/adamw_scratch.py', dest),
            runtime=_base('default_runtime.py', dest),
            **shared,
        )
    texts['student.py'] = STUDENT.format(teacher=f'{root}/teacher.py', **shared)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding='utf-8')
    return [*texts][1:]


def _base(name: str, dest: Path) -> str:
    """Return the path of a base config, relative where both lie on one drive."""
    try:
        return Path(os.path.relpath(BASES / name, dest.resolve())).as_posix()
    except ValueError:
        return (BASES / name).as_posix()
