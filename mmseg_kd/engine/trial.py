"""A trial of the data and the model before anything is trained or tested."""

from __future__ import annotations

import traceback
from typing import Any

import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder
from torch import nn
from torch.utils.data import Dataset

from mmseg_kd.datasets.seeded_sampling import seeded
from mmseg_kd.engine.devices import is_out_of_memory
from mmseg_kd.errors import UserError, one_line


def try_run(runner: Runner) -> None:
    """Try one sample of each data set, and the student's losses on it.

    What a pipeline or a model cannot do is an error of a worker or of a layer otherwise, which
    names no key, and for the validation split comes after hours. The pixels' values do not count:
    every label of the trial is class 0. The random streams and the model stay as they were. Costs
    one image of each split and one forward pass of one crop, without gradients.

    Raises:
        UserError: A step of a pipeline or a part of the model failed; with its config key.
    """
    for split, loop in runner.loops.items():
        if len(loop.dataloader.dataset):
            sample = try_data(loop.dataloader.dataset, f'{split}_dataloader.dataset')
            if split == 'train':
                try_training(runner.bare_model, sample)


def try_data(dataset: Dataset, where: str) -> dict[str, Any]:
    """Return the first sample of a data set.

    Raises:
        UserError: A step of its pipeline failed, or the last one did not pack the sample.
    """
    try:
        with seeded(0):
            sample = dataset[0]
    except UserError:
        raise
    except Exception as error:
        step, steps = '', []
        for owner in _owners(error):
            if isinstance(owner, BaseTransform) and owner in steps:
                step = f'.pipeline.{steps.index(owner)} ({type(owner).__name__})'
            steps = getattr(owner, 'transforms', steps)
        raise UserError(
            f'{where}{step} cannot process the first image: {one_line(error)}'
        ) from error
    if not isinstance(sample, dict) or not {'inputs', 'data_samples'} <= set(sample):
        raise UserError(
            f"{where}.pipeline: the last step gives no 'inputs' and 'data_samples' for the model: "
            "end it with dict(type='PackSegInputs')"
        )
    return sample


@torch.no_grad()
def try_training(model: nn.Module, sample: dict[str, Any]) -> None:
    """Compute a segmentor's own losses on a sample, all of whose pixels are of class 0.

    Raises:
        UserError: A part of the model failed, such as for `in_channels` that do not fit.
    """
    if not isinstance(model, EncoderDecoder):
        return
    labels = sample['data_samples'].get('gt_sem_seg')
    if labels is None:
        raise UserError(
            'train_dataloader.dataset.pipeline: it loads no labels: add '
            "dict(type='LoadAnnotations') after the step that loads the image"
        )
    labels.data.zero_()
    training, stages = model.training, []
    source = model.neck if model.with_neck else model.backbone
    recording = source.register_forward_hook(lambda *args: stages.extend(args[-1]))
    model.eval()
    try:
        with seeded(0):
            data = model.data_preprocessor(pseudo_collate([sample]), training=True)
            EncoderDecoder.loss(model, data['inputs'], data['data_samples'])
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            # Not a type of error that a wrong value in the config raises.
            raise torch.OutOfMemoryError(one_line(error)) from error
        size = 'x'.join(map(str, sample['inputs'].shape[1:]))
        parts = {id(part): f'model.{name}' for name, part in model.named_children()}
        running = [parts[id(owner)] for owner in _owners(error) if id(owner) in parts]
        channels = [stage.shape[1] for stage in stages]
        hint = f'; what in_index and in_channels of a head choose from has {channels} channels'
        raise UserError(
            f'{["model", *running][-1]} fails on a training crop of {size} pixels: '
            f'{one_line(error)}{hint if channels else ""}'
        ) from error
    finally:
        recording.remove()
        model.train(training)


def _owners(error: Exception) -> list[Any]:
    """The objects whose methods were running, the innermost last."""
    return [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]
