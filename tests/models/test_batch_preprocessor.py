"""BatchDataPreProcessor gives what mmseg's SegDataPreProcessor gives, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_kd.errors import UserError

NORMALISE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def batch(sizes: list[tuple[int, int]], dtype: torch.dtype = torch.uint8) -> dict[str, list]:
    generator = torch.Generator().manual_seed(0)
    data: dict[str, list] = dict(inputs=[], data_samples=[])
    for height, width in sizes:
        image = torch.randint(0, 256, (3, height, width), generator=generator).to(dtype)
        sample = SegDataSample(metainfo=dict(img_path='x.png', ori_shape=(height, width)))
        labels = torch.randint(0, 12, (1, height, width), generator=generator)
        sample.gt_sem_seg = PixelData(data=labels)
        data['inputs'].append(image)
        data['data_samples'].append(sample)
    return data


def pair(**settings) -> list[torch.nn.Module]:
    kinds = ('BatchDataPreProcessor', 'SegDataPreProcessor')
    return [MODELS.build(dict(type=kind, **settings)) for kind in kinds]


def assert_same(ours: dict, theirs: dict) -> None:
    assert ours['inputs'].dtype == theirs['inputs'].dtype
    assert torch.equal(ours['inputs'], theirs['inputs'])
    for a, b in zip(ours['data_samples'], theirs['data_samples'], strict=True):
        assert a.metainfo == b.metainfo
        assert a.gt_sem_seg.data.dtype == b.gt_sem_seg.data.dtype
        assert torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)
        assert a.gt_sem_seg.shape == b.gt_sem_seg.shape


@pytest.mark.parametrize(
    'settings',
    [
        dict(size=(40, 48), bgr_to_rgb=True, **NORMALISE),
        dict(size=(40, 48), rgb_to_bgr=True, pad_val=7.5, seg_pad_val=11, **NORMALISE),
        dict(size_divisor=16, **NORMALISE),
        dict(size=(40, 48)),
        dict(size=(40, 48), mean=[128], std=[64]),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    'sizes',
    [[(40, 48)] * 2, [(40, 48), (20, 30), (33, 48), (40, 9)], [(8, 9), (7, 5)], [(50, 60)] * 2],
    ids=str,
)
def test_training_batches(settings: dict, sizes: list[tuple[int, int]]) -> None:
    own, stock = pair(**settings)
    # Otherwise mmseg's code would be compared with itself.
    assert own.packed(batch(sizes)) is not None
    assert_same(own(batch(sizes), training=True), stock(batch(sizes), training=True))


def test_what_it_has_no_fast_way_for() -> None:
    settings = dict(size=(40, 48), bgr_to_rgb=True, **NORMALISE)
    own, stock = pair(**settings)
    floats = batch([(30, 40)] * 2, torch.float32)
    # Not whole numbers, which uint8 would hold.
    floats['inputs'] = [image + 0.3 for image in floats['inputs']]
    assert_same(own(copy.deepcopy(floats), training=True), stock(floats, training=True))
    second = batch([(30, 40)] * 2)
    for sample in second['data_samples']:
        sample.gt_depth_map = PixelData(data=torch.rand(1, 30, 40))
    results = [p(copy.deepcopy(second), training=True) for p in (own, stock)]
    assert_same(*results)
    for a, b in zip(*(result['data_samples'] for result in results), strict=True):
        assert torch.equal(a.gt_depth_map.data, b.gt_depth_map.data)
    # A map of a transform of one's own goes to the device too.
    third = batch([(30, 40)] * 2)
    third['data_samples'][1].my_map = PixelData(data=torch.rand(1, 30, 40))
    assert own.packed(third) is None
    tested = batch([(30, 40)] * 2)
    assert_same(own(copy.deepcopy(tested)), stock(tested))
    unlabelled = batch([(30, 40)] * 2)
    for sample in unlabelled['data_samples']:
        del sample.gt_sem_seg
    inputs = [p(copy.deepcopy(unlabelled), training=True)['inputs'] for p in (own, stock)]
    assert torch.equal(*inputs)


@pytest.mark.parametrize('settings', [dict(), dict(size=(40, 48), size_divisor=8)], ids=str)
def test_size_or_divisor(settings: dict) -> None:
    own, _ = pair(**settings)
    with pytest.raises(AssertionError, match='only one of size and size_divisor'):
        own(batch([(40, 48)]), training=True)


def test_images_of_the_batch_are_left_alone() -> None:
    own, _ = pair(size=(40, 48), bgr_to_rgb=True, **NORMALISE)
    data = batch([(30, 40)])
    before = data['inputs'][0].clone()
    first = copy.deepcopy(own(data, training=True))
    assert torch.equal(data['inputs'][0], before)
    # The labels are padded now, and the batch can be used again.
    assert_same(own(data, training=True), first)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('value', [-1, 300])
def test_padding_that_does_not_fit_a_byte(value: int) -> None:
    own, stock = (each.cuda() for each in pair(size=(40, 48), seg_pad_val=value))
    assert_same(own(batch([(30, 40)]), training=True), stock(batch([(30, 40)]), training=True))


def test_labels_of_another_size_are_named() -> None:
    own, _ = pair(size=(40, 48))
    data = batch([(30, 40)])
    data['inputs'][0] = data['inputs'][0][:, :20]
    with pytest.raises(
        UserError, match=r'^x\.png: image of \(20, 40\), labels of \(30, 40\); every'
    ):
        own(data, training=True)
