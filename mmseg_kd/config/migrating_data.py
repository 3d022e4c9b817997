"""Turn `data` of a config of mmsegmentation 0.x into data loaders, pipelines and a preprocessor."""

from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS

from mmseg_kd.datasets.camvid.dataset import SPLITS
from mmseg_kd.nested import dicts

Step = dict[str, Any]
# Steps that the preprocessor, PackSegInputs or the test loop replaces.
REPLACED = {'Normalize', 'Pad', 'DefaultFormatBundle', 'Collect', 'ImageToTensor', 'ToTensor'}
REPLACED |= {'ToDataContainer', 'Transpose'}
# Keys of a data set that stay, and new names of others. CamVidDataset needs none of the others.
SAME = ('data_root', 'ignore_index', 'reduce_zero_label')
MOVED = {
    'img_dir': 'data_prefix.img_path',
    'ann_dir': 'data_prefix.seg_map_path',
    'classes': 'metainfo.classes',
    'palette': 'metainfo.palette',
    'split': 'ann_file',
    'img_suffix': 'img_suffix',
    'seg_map_suffix': 'seg_map_suffix',
}


def loaders(data: dict[str, Any], remarks: list[str]) -> dict[str, Any]:
    """Return the data loaders of `data`; add a remark for each setting without an equivalent."""
    found = {}
    for split in [s for s in ('train', 'val', 'test') if data.get(s)]:
        # 0.x evaluates image by image, regardless of `samples_per_gpu`.
        own = dict(data.get(f'{split}_dataloader') or {})
        size = data['samples_per_gpu'] if split == 'train' else 1
        workers = own.get('workers_per_gpu', data.get('workers_per_gpu', 2))
        sampler = 'SeededInfiniteSampler' if split == 'train' else 'DefaultSampler'
        found[f'{split}_dataloader'] = dict(
            batch_size=own.get('samples_per_gpu', size),
            num_workers=workers,
            persistent_workers=workers > 0,
            sampler=dict(type=sampler, shuffle=split == 'train'),
            dataset=_dataset(data[split], split, remarks),
        )
    remarks[:] = dict.fromkeys(remarks)
    return found


def preprocessor(data: dict[str, Any], remarks: list[str]) -> dict[str, Any]:
    """Return the data preprocessor that normalises and pads as the pipelines did."""
    train = _steps(data['train'])
    normalize, pad = train.get('Normalize', {}), train.get('Pad', {})
    if not normalize:
        remarks.append('data.train: there is no Normalize; images are not normalised')
    found = dict(
        type='BatchDataPreProcessor',
        mean=normalize.get('mean'),
        std=normalize.get('std'),
        bgr_to_rgb=bool(normalize) and normalize.get('to_rgb', True),
        pad_val=pad.get('pad_val', 0),
        seg_pad_val=pad.get('seg_pad_val', 255),
    )
    found |= {key: pad[key] for key in ('size', 'size_divisor') if pad.get(key)}
    if divisor := _steps(data.get('test') or data.get('val')).get('Pad', {}).get('size_divisor'):
        found['test_cfg'] = dict(size_divisor=divisor)
    return found


def _steps(dataset: Any) -> dict[str, Step]:
    """Return the steps of a data set's pipelines by type, also those inside other steps."""
    return {node['type']: node for _, node in dicts(dataset) if 'type' in node}


def _parts(old: Any) -> Any:
    """Return the data sets that 0.x concatenates; None if there is only one."""
    if isinstance(old, list | tuple):
        return old
    keys = ('img_dir', 'ann_dir', 'split')
    if lists := {key: old[key] for key in keys if isinstance(old.get(key), list | tuple)}:
        values = zip(*lists.values(), strict=True)
        return [old | dict(zip(lists, value, strict=True)) for value in values]
    return old.get('datasets')


def _dataset(old: Any, split: str, remarks: list[str]) -> dict[str, Any]:
    if parts := _parts(old):
        return dict(type='ConcatDataset', datasets=[_dataset(p, split, remarks) for p in parts])
    if old['type'] == 'RepeatDataset':
        return _dataset(old['dataset'], split, remarks)
    where, pipeline = f'data.{split}', old['pipeline']
    new = Config(dict(type=_dataset_type(old, where, remarks)))
    camvid = new.type == 'CamVidDataset'
    if camvid:
        # Splits at both kinds of slash.
        name = PureWindowsPath(old.get('img_dir') or '').name
        new.split = name if name in SPLITS else split
    for key, value in old.items():
        if key in SAME:
            new[key] = value
        elif key in MOVED and not camvid and value is not None:
            new.merge_from_dict({MOVED[key]: value})
        elif key not in (*MOVED, 'type', 'pipeline', 'test_mode'):
            remarks.append(f'{where}.{key}={value!r}')
    if any(step.get('reduce_zero_label') for step in pipeline):
        new.reduce_zero_label = True
    steps = list(_pipeline(pipeline, f'{where}.pipeline', remarks))
    if not any(step['type'] == 'LoadAnnotations' for step in steps):
        # In a test the labels are loaded last, because Resize must not change them.
        steps.append(dict(type='LoadAnnotations'))
    new.pipeline = [*steps, dict(type='PackSegInputs')]
    return new.to_dict()


def _dataset_type(old: dict[str, Any], where: str, remarks: list[str]) -> str:
    kind = old['type']
    if kind == 'CamVidDataset':
        remarks.append('data: CamVidDataset has the folders and 12 classes of the SegNet layout')
    elif kind != 'CustomDataset' and DATASETS.get(kind) is not None:
        return kind
    elif 'classes' not in old:
        remarks.append(f'{where}: {kind} becomes BaseSegDataset; write its classes in metainfo')
    return kind if kind == 'CamVidDataset' else 'BaseSegDataset'


def _pipeline(steps: list[Step], where: str, remarks: list[str]) -> Iterator[Step]:
    """Yield the steps of 1.x for those of 0.x."""
    for step in steps:
        kind = step['type']
        if kind == 'MultiScaleFlipAug':
            size = _test_size(step, remarks)
            inner = [s for s in step['transforms'] if s['type'] != 'RandomFlip']
            inner = [s | size if 'Resize' in s['type'] else s for s in inner]
            yield from _pipeline(inner, where, remarks)
        elif kind in RENAMED:
            yield from RENAMED[kind](step, where, remarks)
        elif kind == 'LoadAnnotations':
            yield {k: v for k, v in step.items() if k != 'reduce_zero_label'}
        elif kind not in REPLACED and TRANSFORMS.get(kind) is None:
            remarks.append(f'{where}: {kind} is not registered here and is left out')
        elif kind not in REPLACED:
            yield step


def _resize(step: Step, where: str, remarks: list[str]) -> list[Step]:
    step = dict(step)
    step.pop('type')
    scale, ratios = step.pop('img_scale', step.pop('scale', None)), step.pop('ratio_range', None)
    mode, factor = step.pop('multiscale_mode', 'range'), step.pop('scale_factor', None)
    keep = dict(keep_ratio=step.pop('keep_ratio', True))
    remarks += [f'{where}: Resize.{key}={value!r}' for key, value in step.items()]
    if isinstance(scale, list) and len(scale) == 1:
        scale = scale[0]
    if factor is not None:
        return [dict(type='Resize', scale_factor=factor, **keep)]
    if scale is None:
        remarks += [f'{where}: Resize with ratio_range={ratios} needs img_scale'] if ratios else []
        return []
    if ratios:
        keep['ratio_range'] = ratios
    if isinstance(scale, list) and mode == 'value':
        return [dict(type='RandomChoiceResize', scales=scale, **keep)]
    random = ratios or isinstance(scale, list)
    return [dict(type='RandomResize' if random else 'Resize', scale=scale, **keep)]


def _align_resize(step: Step, where: str, remarks: list[str]) -> list[Step]:
    step = dict(step)
    divisor = step.pop('size_divisor', 32)
    remarks.append(f'AlignResize: resizes to the scale, then to multiples of {divisor}')
    return [*_resize(step, where, remarks), dict(type='ResizeToMultiple', size_divisor=divisor)]


def _random_flip(step: Step, where: str, remarks: list[str]) -> list[Step]:
    prob = step.get('prob', step.get('flip_ratio'))
    flip = dict(type='RandomFlip', prob=prob, direction=step.get('direction', 'horizontal'))
    # Without a probability 0.x never flips.
    return [flip] if prob is not None else []


# Steps with another name or other arguments in 1.x.
RENAMED = {'Resize': _resize, 'AlignResize': _align_resize, 'RandomFlip': _random_flip}


def _test_size(step: Step, remarks: list[str]) -> Step:
    """Return the arguments of Resize for a MultiScaleFlipAug that is reduced to one scale."""
    scale, ratios = step.get('img_scale'), step.get('img_ratios') or [1]
    ratios = [ratios] if isinstance(ratios, int | float) else ratios
    scales = scale if isinstance(scale, list) else [scale]
    if len(scales) > 1 or len(ratios) > 1 or step.get('flip'):
        remarks.append('MultiScaleFlipAug: it becomes one scale; write a tta_pipeline')
    ratio = ratios[0] if len(ratios) == 1 else 1
    if scales[0] is None:
        return dict(scale_factor=ratio)
    return dict(scale=tuple(int(side * ratio) for side in scales[0]))
