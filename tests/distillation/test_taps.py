import pytest
import torch
from conftest import tiny_model
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmseg_kd.distillation import check_taps, list_taps, record_taps
from mmseg_kd.distillation.losses.features.attention_transfer import attention_contrast
from mmseg_kd.errors import UserError


@pytest.fixture(scope='module')
def segmentor() -> torch.nn.Module:
    return MODELS.build(ConfigDict(tiny_model())).eval()


@pytest.fixture(scope='module')
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96)


def test_taps_are_what_the_model_computes(segmentor: torch.nn.Module, images: torch.Tensor) -> None:
    names = ['logits', 'stage1', 'stage4', 'stage2.pre_norm', 'decode_head.linear_fuse']
    with record_taps(segmentor, names) as taps:
        logits = segmentor(images, mode='tensor')
    stages = segmentor.backbone(images)
    assert list(taps) == names
    assert torch.equal(taps['logits'], logits)
    assert torch.equal(taps['stage1'], stages[0])
    assert torch.equal(taps['stage4'], stages[3])
    # What precedes the stage's LayerNorm, as a map: normalising it gives the stage's output.
    normalised = segmentor.backbone.norm2(taps['stage2.pre_norm'].permute(0, 2, 3, 1))
    assert torch.equal(normalised.permute(0, 3, 1, 2), stages[1])
    expected = segmentor.decode_head.linear_pred(taps['decode_head.linear_fuse'])
    assert torch.equal(expected, logits)


def test_logits_are_recorded_inside_loss_and_predict(
    segmentor: torch.nn.Module, images: torch.Tensor
) -> None:
    with record_taps(segmentor, ['logits']) as taps:
        segmentor(images, mode='predict')
    assert taps['logits'].shape == (2, 12, 16, 24)


def test_nothing_stays_attached(segmentor: torch.nn.Module, images: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match='stop'), record_taps(segmentor, ['logits', 'stage1']):
        raise RuntimeError('stop')
    assert not any(module._forward_hooks for module in segmentor.modules())
    assert 'forward' not in vars(segmentor.decode_head)


def test_pre_norm_is_the_stage_where_a_backbone_has_none(images: torch.Tensor) -> None:
    cnn = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(type='ResNet', depth=18, num_stages=4, out_indices=(0, 1, 2, 3)),
            decode_head=dict(
                type='FCNHead', in_channels=512, in_index=3, channels=8, num_classes=12
            ),
            test_cfg=dict(mode='whole'),
        )
    ).eval()
    with record_taps(cnn, ['stage3', 'stage3.pre_norm']) as taps:
        cnn(images, mode='tensor')
    assert torch.equal(taps['stage3'], taps['stage3.pre_norm'])


def test_unknown_taps_are_named(segmentor: torch.nn.Module, images: torch.Tensor) -> None:
    check_taps(segmentor, ['logits', 'stage4', 'backbone.block1.0'], 'student')
    with pytest.raises(UserError, match=r"student has no tap 'stage_4'.*list_taps.py"):
        check_taps(segmentor, ['stage_4'], 'student')
    head, embed = ['decode_head.linear_pred'], ['backbone.patch_embed1']
    with pytest.raises(UserError, match='was not reached'), record_taps(segmentor, head):
        segmentor.backbone(images)
    with pytest.raises(UserError, match='a tuple, not a tensor'), record_taps(segmentor, embed):
        segmentor(images, mode='tensor')


def test_list_taps(segmentor: torch.nn.Module, images: torch.Tensor) -> None:
    taps = list_taps(segmentor, images)
    assert list(taps)[:5] == ['logits', 'stage1', 'stage2', 'stage3', 'stage4']
    assert taps['stage1'] == (2, 8, 16, 24)
    assert taps['stage1.pre_norm'] == taps['backbone.block1.0'] == (2, 8, 16, 24)
    assert taps['backbone.block1.0.attn.norm'] == (2, 8, 2, 3)
    check_taps(segmentor, taps, 'student')


def test_attention_contrast() -> None:
    # One bright place of four: mean 1/4, standard deviation sqrt(3)/4.
    spot = torch.zeros(1, 5, 2, 2)
    spot[0, :, 0, 0] = 1
    assert float(attention_contrast(spot)) == pytest.approx(3**0.5)
    assert float(attention_contrast(torch.ones(1, 5, 2, 2))) == 0
    # LayerNorm without affine parameters makes every map flat.
    normalised = torch.nn.functional.layer_norm(torch.randn(1, 8, 8, 64), (64,), eps=0)
    assert float(attention_contrast(normalised.permute(0, 3, 1, 2))) < 1e-5
