from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmseg_kd.checkpoints import load_strictly
from mmseg_kd.errors import UserError


def segmentor(classes=12, conv_seg=False):
    names = OrderedDict(fuse=nn.Conv2d(4, 4, 1), bn=nn.BatchNorm2d(4))
    names['conv_seg' if conv_seg else 'linear_pred'] = nn.Conv2d(4, classes, 1)
    return nn.Sequential(OrderedDict(backbone=nn.Conv2d(3, 4, 3), decode_head=nn.Sequential(names)))


def refusal(model, state_dict, **kwargs) -> str:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_strictly(model, state_dict, 'work_dirs/x.pth', **kwargs)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_loads_everything():
    source, target = segmentor(), segmentor()
    nn.init.constant_(source.decode_head.bn.running_mean, 3.0)
    assert load_strictly(target, source.state_dict(), 'x.pth') == 11
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


def test_num_batches_tracked_may_be_missing():
    state_dict = segmentor().state_dict()
    del state_dict['decode_head.bn.num_batches_tracked']
    assert load_strictly(segmentor(), dict(state_dict), 'x.pth') == 10


def test_other_model():
    found = {f'layers.{n}.weight': torch.ones(1) for n in range(5)}
    assert refusal(segmentor(), found) == (
        'work_dirs/x.pth does not fit Sequential: 0 of 10 tensors match; '
        'missing 10 (backbone.weight, backbone.bias, decode_head.fuse.weight, ...), '
        'unexpected 5 (layers.0.weight, layers.1.weight, layers.2.weight, ...)'
    )


def test_one_missing_one_misshapen():
    found = segmentor().state_dict()
    del found['backbone.bias']
    found['decode_head.fuse.weight'] = torch.ones(4, 2, 1, 1)
    message = refusal(segmentor(), found)
    assert '9 of 11 tensors match' in message
    assert 'missing 1 (backbone.bias)' in message
    assert 'of another shape 1 (decode_head.fuse.weight (4, 2, 1, 1) for (4, 4, 1, 1))' in message


def test_class_count():
    message = refusal(segmentor(12), segmentor(19).state_dict())
    assert message.endswith('; the checkpoint has 19 classes, the model 12')
    assert '9 of 11 tensors match' in message
    found = segmentor(19).state_dict()
    del found['backbone.bias']
    assert 'classes' not in refusal(segmentor(12), found)


def test_width_is_not_a_class_count():
    found = segmentor().state_dict()
    found['decode_head.fuse.weight'] = torch.ones(4, 2, 1, 1)
    assert 'classes' not in refusal(segmentor(), found)


def test_unused_layer_of_published_checkpoints():
    unused = {
        'decode_head.conv_seg.weight': torch.ones(19, 4, 1, 1),
        'decode_head.conv_seg.bias': torch.ones(19),
    }
    source = segmentor()
    assert load_strictly(segmentor(), {**source.state_dict(), **unused}, 'x.pth') == 11
    used = segmentor(conv_seg=True)
    assert load_strictly(used, segmentor(conv_seg=True).state_dict(), 'x.pth') == 11
    assert '19 classes' in refusal(used, {**used.state_dict(), **unused})


def test_teacher_keys_are_unexpected():
    found = {**segmentor().state_dict(), 'teacher.backbone.weight': torch.ones(1)}
    assert 'unexpected 1 (teacher.backbone.weight)' in refusal(segmentor(), found)


@pytest.mark.parametrize('dtype', [torch.int8, torch.complex64])
def test_weights_that_are_not_real_numbers(dtype):
    found = segmentor().state_dict()
    found['decode_head.fuse.weight'] = found['decode_head.fuse.weight'].to(dtype)
    assert f'not real numbers 1 (decode_head.fuse.weight {dtype})' in refusal(segmentor(), found)


def test_weights_of_less_precision_are_loaded():
    found = {key: value.bfloat16() for key, value in segmentor().state_dict().items()}
    assert load_strictly(segmentor(), found, 'x.pth') == 11
