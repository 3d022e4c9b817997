"""The labelled images of a config, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.preparing import choose_split
from mmseg_kd.errors import UserError, did_you_mean


def build_dataset(cfg: Config, split: str | None) -> BaseDataset:
    """Build the labelled images of a split; those of validation if it is None.

    Raises:
        UserError: The config has no such data, or it cannot be built.
    """
    key = 'val_dataloader' if split is None else 'test_dataloader'
    if cfg.get(key) is None:
        raise UserError(f'{cfg.filename} has no {key}')
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
    for stem in stems:
        if stem not in indices:
            hint = did_you_mean(stem, indices, f'it has {len(indices)}, such as {min(indices)!r}')
            raise UserError(f'--names: the split has no image {stem!r}: {hint}')
    return [indices[stem] for stem in dict.fromkeys(stems)]
