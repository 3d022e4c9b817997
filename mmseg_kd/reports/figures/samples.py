"""The labelled images of a config: their names, and what models predict for them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from torch import Tensor, nn
from tqdm import tqdm

from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.preparing import choose_split
from mmseg_kd.distillation.teachers import BaseTeacher
from mmseg_kd.errors import UserError, unknown
from mmseg_kd.evaluation.segmentation_metric import confusion_matrix, iou_and_accuracy

IGNORED = 255

Sample = Mapping[str, Any]


def build_dataset(cfg: Config, split: str | None, default: str = 'val') -> BaseDataset:
    """Build the labelled images of a split.

    Args:
        cfg: The config.
        split: The split; None takes the config's data for `default`.
        default: 'val' or 'test'.

    Raises:
        UserError: The config has no such data, or it cannot be built.
    """
    key = f'{default}_dataloader' if split is None else 'test_dataloader'
    if cfg.get(key) is None:
        raise UserError(f'{cfg.filename} has no {key}, so the labels are unknown')
    if split is not None:
        choose_split(cfg, split)
    with config_errors():
        return DATASETS.build(cfg[key].dataset)


def stem_of(dataset: BaseDataset, index: int) -> str:
    """Return the name of an image without the ending."""
    return Path(dataset.get_data_info(index)['img_path']).stem


def indices_of(dataset: BaseDataset, stems: Sequence[str]) -> list[int]:
    """Return the indices of images by their names without the ending, each once.

    Raises:
        UserError: There is no such image.
    """
    indices = {stem_of(dataset, i): i for i in range(len(dataset))}
    for stem, hint in unknown(stems, indices, f'it has {len(indices)}, such as {min(indices)!r}'):
        raise UserError(f'--names: the split has no image {stem!r}: {hint}')
    return [indices[stem] for stem in dict.fromkeys(stems)]


def image_of(sample: Sample) -> np.ndarray:
    """Return the image of a sample, RGB (H, W, 3)."""
    return sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]


def label_of(sample: Sample) -> Tensor:
    """Return the true ids of a sample (H, W)."""
    return sample['data_samples'].gt_sem_seg.data[0]


def batch_of(sample: Sample) -> dict[str, list[Any]]:
    """Return a batch of one sample, with a copy of its label."""
    return {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples'].clone()]}


def predict(model: nn.Module, sample: Sample) -> Tensor:
    """Return the predicted ids (H, W) of a sample, on the CPU."""
    return model.test_step(batch_of(sample))[0].pred_sem_seg.data[0].cpu()


def tap_maps(
    model: nn.Module, inputs: Tensor, taps: Sequence[str], student: nn.Module, option: str
) -> dict[str, Tensor]:
    """Return the maps (N, C, H, W) of a model at taps, for images as the student gets them.

    Raises:
        UserError: A tap, which `option` names, is not a map.
    """
    maps = BaseTeacher(model)(inputs, taps, student.data_preprocessor)
    for tap, x in maps.items():
        if x.ndim != 4:
            shape = tuple(x.shape)
            raise UserError(f'{option}: {tap!r} of shape {shape} is not a map (N, C, H, W)')
    return maps


def image_scores(
    models: Mapping[str, nn.Module], dataset: BaseDataset, indices: Iterable[int]
) -> dict[int, dict[str, float]]:
    """Return the mIoU of single images in percent, by index and by model.

    Raises:
        UserError: A model predicts more classes than the images have.
    """
    classes = len(dataset.metainfo['classes'])
    for name, model in models.items():
        if (own := getattr(model, 'num_classes', classes)) > classes:
            raise UserError(f'the {name} predicts {own} classes, but the images have {classes}')
    scores: dict[int, dict[str, float]] = {}
    # None hides the bar where standard error is not a terminal.
    for i in tqdm(indices, 'images', leave=False, disable=None):
        sample, scores[i] = dataset[i], {}
        for name, model in models.items():
            confusion = confusion_matrix(label_of(sample), predict(model, sample), classes)
            scores[i][name] = 100 * float(iou_and_accuracy(confusion.double())[0].nanmean())
    return scores
