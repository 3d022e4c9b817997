"""A label that the model has no class for is named, with its file."""

from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config
from mmengine.config import Config
from PIL import Image

from mmseg_kd.engine import build_runner, prepare_test
from mmseg_kd.errors import UserError


def labelled(root: Path, extra: dict[int, int], split: str = 'train', **options: object) -> Config:
    """A run on four images of labels 0 to 11 and void; those of `extra` hold one more."""
    for i in range(4):
        for folder, picture in (
            ('images', np.zeros((80, 80, 3), np.uint8)),
            ('labels', np.tile(np.r_[np.arange(12).repeat(5), np.full(20, 255)], (80, 1))),
        ):
            if folder == 'labels' and i in extra:
                picture[40:] = extra[i]
            (root / folder).mkdir(exist_ok=True)
            suffix = {'images': 'jpg', 'labels': 'png'}[folder]
            Image.fromarray(picture.astype(np.uint8)).save(root / folder / f'{i}.{suffix}')
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=tuple('abcdefghijkl')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            *([dict(type='RandomCrop', crop_size=(64, 64))] if split == 'train' else []),
            dict(type='PackSegInputs'),
        ],
        _delete_=True,
    )
    return tiny_config(
        root / 'run', **{f'{split}_dataloader__dataset': dataset}, train_cfg__max_iters=3, **options
    )


def test_labels_up_to_the_last_class_and_void_are_fine(tmp_path: Path) -> None:
    build_runner(labelled(tmp_path, {})).train()
    assert (tmp_path / 'run' / 'iter_3.pth').is_file()


@pytest.mark.parametrize('label', [12, 254])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_label_beyond_the_classes(tmp_path: Path, split: str, label: int) -> None:
    file = tmp_path / 'labels' / '2.png'
    message = f'{file}: has label {label}, but the model knows 0 to 11: write 255 .*={label + 1}$'
    with pytest.raises(UserError, match=message):
        build_runner(labelled(tmp_path, {2: label}, split)).train()


def test_a_label_beyond_the_classes_in_a_test(tmp_path: Path, trained: Path) -> None:
    cfg = labelled(tmp_path, {3: 20}, 'test')
    prepare_test(cfg, str(trained / 'run' / 'iter_6.pth'))
    with pytest.raises(UserError, match=r'3\.png: has label 20'):
        build_runner(cfg).test()


@pytest.mark.parametrize('num_classes', [4, 13])
def test_another_number_of_classes(tmp_path: Path, num_classes: int) -> None:
    cfg = tiny_config(tmp_path, model__decode_head__num_classes=num_classes)
    message = rf'is {num_classes}, but train_dataloader\.dataset has 12 classes: write .*=12$'
    with pytest.raises(UserError, match=message):
        build_runner(cfg).train()
