"""A label that the model has no class for is named, with its file."""

from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config
from mmengine.config import Config
from PIL import Image

from mmseg_kd.config import prepare_test
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.hooks import label_check_hook
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


@pytest.mark.parametrize(
    ('label', 'advice'),
    [(12, 'set model.decode_head.num_classes=13'), (128, 'in place of grey .*')],
)
@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_label_beyond_the_classes(tmp_path: Path, split: str, label: int, advice: str) -> None:
    file = tmp_path / 'labels' / '2.png'
    message = f'{file}: has label {label}, but the model knows 0 to 11: write 255 .*{advice}$'
    with pytest.raises(UserError, match=message):
        build_runner(labelled(tmp_path, {2: label}, split)).train()


def test_a_label_that_is_not_in_the_first_crop(tmp_path: Path) -> None:
    mask = halves(0, 1)
    # One of 17 crops has the first row.
    mask[0] = 7
    cfg = own(tmp_path, [mask] * 3, train_cfg__max_iters=40)
    with pytest.raises(UserError, match=r'\d\.png: has label 7, but the model knows 0 to 1'):
        build_runner(cfg).train()


def test_a_label_beyond_the_classes_in_a_test(tmp_path: Path, trained: Path) -> None:
    cfg = labelled(tmp_path, {3: 20}, 'test')
    prepare_test(cfg, str(trained / 'run' / 'iter_6.pth'))
    with pytest.raises(UserError, match=r'3\.png: has label 20'):
        build_runner(cfg).test()


def test_one_channel_stands_for_two_classes(tmp_path: Path) -> None:
    head = dict(num_classes=1, out_channels=1, threshold=0.3)
    head['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    cfg = own(tmp_path, [halves(0, 1)] * 3, model__decode_head=head)
    build_runner(cfg).train()
    assert (tmp_path / 'run' / 'iter_3.pth').is_file() and not remarks(tmp_path)


@pytest.mark.parametrize('num_classes', [4, 13])
def test_another_number_of_classes(tmp_path: Path, num_classes: int) -> None:
    cfg = tiny_config(tmp_path, model__decode_head__num_classes=num_classes)
    message = rf'is {num_classes}, but train_dataloader\.dataset has 12 classes: write .*=12$'
    with pytest.raises(UserError, match=message):
        build_runner(cfg).train()


@pytest.mark.parametrize(
    'left',
    [
        'model.data_preprocessor.seg_pad_val',
        'model.kd_losses.kl.ignore_index',
        'val_evaluator.ignore_index',
    ],
)
def test_one_label_of_void(tmp_path: Path, teacher: dict, left: str) -> None:
    keys = {
        'model.data_preprocessor.seg_pad_val': 12,
        'model.kd_losses.kl.ignore_index': 12,
        'val_evaluator.ignore_index': 12,
    }
    options = {key.replace('.', '__'): void for key, void in keys.items() if key != left}
    losses = dict(kl=dict(type='KLDivergenceLoss'), at=dict(type='AttentionTransferLoss'))
    cfg = tiny_config(
        tmp_path,
        model__type='KDEncoderDecoder',
        model__teacher=teacher,
        model__kd_losses=losses,
        model__decode_head__ignore_index=12,
        train_cfg__max_iters=2,
        **options,
    )
    message = f'^model.decode_head.ignore_index is 12, but {left} is 255: write {left}=12$'
    with pytest.raises(UserError, match=message):
        build_runner(cfg).train()
    cfg.merge_from_dict({left: 12})
    build_runner(cfg).train()
    assert (tmp_path / 'iter_2.pth').is_file()


def test_a_test_needs_no_label_of_void_that_it_does_not_read(tmp_path: Path, trained: Path) -> None:
    for out, void in ((tmp_path / 'png', 255), (None, 12)):
        cfg = tiny_config(tmp_path / 'run', model__decode_head__ignore_index=12)
        cfg.model.update(type='KDEncoderDecoder', teacher=dict(type='EMATeacher'))
        cfg.model.kd_losses = dict(kl=dict(type='KLDivergenceLoss'))
        cfg.test_evaluator.ignore_index = void
        prepare_test(cfg, str(trained / 'run' / 'iter_6.pth'), out=out and str(out))
        cfg.test_evaluator.format_only = out is not None
        build_runner(cfg).test()


def test_a_head_may_leave_out_a_class_that_the_metric_counts(tmp_path: Path) -> None:
    void = dict(model__decode_head__ignore_index=11, model__data_preprocessor__seg_pad_val=11)
    build_runner(tiny_config(tmp_path, train_cfg__max_iters=3, **void)).train()
    assert (tmp_path / 'iter_3.pth').is_file()


def own(root: Path, masks: list[np.ndarray | None], **options: object) -> Config:
    """A run with two classes on own photos; a mask that is None is missing."""
    (root / 'images').mkdir()
    (root / 'labels').mkdir()
    for i, labels in enumerate(masks):
        Image.new('RGB', (80, 80), (i, 0, 0)).save(root / 'images' / f'{i}.jpg')
        if labels is not None:
            Image.fromarray(labels).save(root / 'labels' / f'{i}.png')
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('road', 'car')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomCrop', crop_size=(64, 64)),
            dict(type='PackSegInputs'),
        ],
        _delete_=True,
    )
    settings = dict(
        model__decode_head__num_classes=2,
        train_dataloader__dataset=dataset,
        train_cfg__max_iters=3,
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
        default_hooks__checkpoint__save_best=None,
        default_hooks__prediction_grid=None,
        default_hooks__confusion_record=None,
    )
    return tiny_config(root / 'run', **settings | options)


def halves(first: int, second: int) -> np.ndarray:
    labels = np.full((80, 80), first, np.uint8)
    labels[:, 40:] = second
    return labels


def remarks(root: Path) -> list[str]:
    text = next((root / 'run').glob('*/*.log')).read_text(encoding='utf-8')
    return [line for line in text.splitlines() if 'no pixel of class' in line]


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (
            halves(0, 255),
            'no pixel of class car in the first crops of 3 training images, of which ',
        ),
        (halves(0, 0), 'no pixel of class car in the first crops of 3 .* 0.0 % are void (255)'),
        (halves(0, 1), None),
    ],
    ids=['void', 'one class', 'both'],
)
def test_a_class_without_a_pixel_is_reported_once(
    tmp_path: Path, labels: np.ndarray, message: str | None
) -> None:
    # The second batch has the last image and one that was counted already.
    build_runner(own(tmp_path, [labels] * 3)).train()
    lines = remarks(tmp_path)
    assert len(lines) == bool(message)
    if message:
        assert all(part in lines[0] for part in message.split(' .* '))
        advice = 'if 255 in your masks means a class, write its id in place of it'
        assert (advice in lines[0]) == (255 in labels)


def test_repeated_images_are_reported_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_check_hook, 'ENOUGH', 4)
    cfg = own(tmp_path, [halves(0, 255)] * 2)
    images = dict(cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=9, dataset=images)
    reported = []
    monkeypatch.setattr(
        label_check_hook.LabelCheckHook,
        'after_train',
        lambda hook, runner: reported.append(runner.iter),
    )
    build_runner(cfg).train()
    # Two iterations of two samples, then at the end.
    assert reported[0] == 1


def test_a_training_that_ends_before_it_has_seen_the_images(tmp_path: Path) -> None:
    build_runner(own(tmp_path, [halves(0, 255)] * 9)).train()
    (line,) = remarks(tmp_path)
    assert 'in the first crops of 6 training images' in line


def test_grey_values_are_no_class_ids(tmp_path: Path) -> None:
    message = (
        r'labels/\d\.png: has label 128, but the model knows 0 to 1: write 255 where no class is '
        'meant, and class ids in place of grey values or colours$'
    )
    with pytest.raises(UserError, match=message):
        build_runner(own(tmp_path, [halves(0, 128)] * 4)).train()


def test_photos_without_masks(tmp_path: Path, trained: Path) -> None:
    checkpoint = str(trained / 'run' / 'iter_6.pth')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    own(tmp_path, [None] * 2)
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images'),
        metainfo=dict(classes=tuple('abcdefghijkl')),
        pipeline=pipeline,
        _delete_=True,
    )
    cfg = tiny_config(tmp_path / 'run', test_dataloader__dataset=dataset)
    prepare_test(cfg, checkpoint, out=str(tmp_path / 'out'))
    for evaluator in (cfg.test_evaluator, dict(type='IoUMetric')):
        cfg.test_evaluator = evaluator
        with pytest.raises(
            UserError, match=r'0\.jpg: has no labels; write .*format_only=True with --out'
        ):
            build_runner(cfg).test()
    cfg.test_evaluator = dict(
        type='SegmentationMetric', format_only=True, output_dir=str(tmp_path / 'out')
    )
    build_runner(cfg).test()
    assert len(list((tmp_path / 'out').glob('*.png'))) == 2


@pytest.mark.parametrize('size', [(1, 1), (500, 1)])
def test_an_image_that_is_too_small_for_the_backbone(
    tmp_path: Path, trained: Path, size: tuple[int, int]
) -> None:
    own(tmp_path, [])
    Image.new('RGB', size).save(tmp_path / 'images' / 'small.jpg')
    Image.new('L', size).save(tmp_path / 'labels' / 'small.png')
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=tuple('abcdefghijkl')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
        _delete_=True,
    )
    cfg = tiny_config(tmp_path / 'run', test_dataloader__dataset=dataset)
    prepare_test(cfg, str(trained / 'run' / 'iter_6.pth'))
    message = rf'images of at least 32 pixels a side, not 1x{size[0]}: .*size_divisor=32$'
    with pytest.raises(UserError, match=message):
        build_runner(cfg).test()
    # What the message advises.
    cfg.model.data_preprocessor.test_cfg = dict(size_divisor=32)
    build_runner(cfg).test()
