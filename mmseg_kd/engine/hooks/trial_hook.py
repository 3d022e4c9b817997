"""A trial of the data and the model before anything is trained or tested."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder
from torch import nn
from torch.utils.data import Dataset

from mmseg_kd.datasets.seeded_sampling import seeded
from mmseg_kd.engine.devices import is_out_of_memory
from mmseg_kd.errors import UserError, one_line


class TrialHook(Hook):
    """Try one sample of each data set, and the student's losses on it; every `KDRunner` has this.

    What a pipeline or a model cannot do is an error of a worker or of a layer otherwise, which
    names no key, and for the validation split comes after hours. The pixels' values do not count:
    every label of the trial is class 0. The random streams and the model stay as they were. Costs
    one image of each split and one forward pass of one crop, without gradients.

    Raises:
        UserError: A step of a pipeline or a part of the model failed; with its config key.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Try the data of all loops, and the training step."""
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
        where += _step(error)
        raise UserError(f'{where} cannot process the first image: {one_line(error)}') from error
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
    size = 'x'.join(map(str, sample['inputs'].shape[1:]))
    training = model.training
    model.eval()
    try:
        with seeded(0):
            data = model.data_preprocessor(pseudo_collate([sample]), training=True)
            EncoderDecoder.loss(model, data['inputs'], data['data_samples'])
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            # The config can be built: another type than what a wrong value raises.
            raise torch.OutOfMemoryError(one_line(error)) from error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f'{_part(model, error)} fails on a training crop of {size} pixels: {one_line(error)} '
            f'({Path(frame.filename).name}, line {frame.lineno}){_channels(model, sample)}'
        ) from error
    finally:
        model.train(training)


def _step(error: Exception) -> str:
    """The innermost step of a pipeline that was running, as the end of a config key."""
    found, steps = '', []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get('self')
        if isinstance(owner, BaseTransform) and owner in steps:
            found = f'.pipeline.{steps.index(owner)} ({type(owner).__name__})'
        steps = getattr(owner, 'transforms', steps)
    return found


def _part(model: nn.Module, error: Exception) -> str:
    """The part of a model that was running, as a config key."""
    names = {id(module): name for name, module in model.named_children()}
    found = 'model'
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if name := names.get(id(frame.f_locals.get('self'))):
            found = f'model.{name}'
    return found


def _channels(model: nn.Module, sample: dict[str, Any]) -> str:
    """What the heads are given, where that can be computed."""
    try:
        data = model.data_preprocessor(pseudo_collate([sample]), training=True)
        channels = [stage.shape[1] for stage in model.extract_feat(data['inputs'])]
    except Exception:
        return ''
    return f'; what in_index and in_channels of a head choose from has {channels} channels'
