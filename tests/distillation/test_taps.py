import pytest
import torch
from conftest import tiny_model
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmseg_kd.distillation import check_taps, list_taps, record_taps
from mmseg_kd.distillation.taps import record_features
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
    # The map before the stage's LayerNorm: normalising it gives the stage's output.
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


def test_pre_norm_of_the_mit_of_mmseg_is_before_its_norm(images: torch.Tensor) -> None:
    backbone = dict(embed_dims=8, num_layers=[1, 2, 1, 1], num_heads=[1, 1, 2, 2])
    stock = dict(type='mmseg.MixVisionTransformer', **backbone, out_indices=(1, 3))
    head = dict(type='FCNHead', in_channels=16, in_index=1, channels=8, num_classes=12)
    mit = MODELS.build(
        dict(type='EncoderDecoder', backbone=stock, decode_head=head, test_cfg=dict(mode='whole'))
    ).eval()
    names = ['stage1', 'stage1.pre_norm', 'stage2', 'stage2.pre_norm']
    with record_taps(mit, names) as taps:
        mit(images, mode='tensor')
    for stage, layer in (('stage1', 1), ('stage2', 3)):
        before = taps[f'{stage}.pre_norm'].permute(0, 2, 3, 1)
        after = mit.backbone.layers[layer][2](before).permute(0, 3, 1, 2)
        assert not torch.equal(taps[stage], taps[f'{stage}.pre_norm'])
        assert torch.equal(taps[stage], after)


def test_unknown_taps_are_named(segmentor: torch.nn.Module, images: torch.Tensor) -> None:
    check_taps(segmentor, ['logits', 'stage4', 'backbone.block1.0'], 'student')
    with pytest.raises(UserError, match=r"student has no tap 'stage_4'.*list_taps.py"):
        check_taps(segmentor, ['stage_4'], 'student')
    head, embed = ['decode_head.linear_pred'], ['backbone.patch_embed1']
    with (
        pytest.raises(UserError, match=r'was not reached .*; MixTransformer has 4'),
        record_taps(segmentor, head),
    ):
        segmentor.backbone(images)
    with pytest.raises(UserError, match='a tuple, not a tensor'), record_taps(segmentor, embed):
        segmentor(images, mode='tensor')


def test_list_taps(segmentor: torch.nn.Module, images: torch.Tensor) -> None:
    taps = list_taps(segmentor, images)
    assert list(taps)[:5] == ['logits', 'stage1', 'stage2', 'stage3', 'stage4']
    assert taps['stage1'] == (2, 8, 16, 24)
    assert taps['stage1.pre_norm'] == taps['backbone.block1.0'] == (2, 8, 16, 24)
    assert taps['backbone.block1.0.attn.norm'] == (2, 8, 2, 3)
    assert taps['stage4.attention'] == (2, 2, 6, 6)
    check_taps(segmentor, taps, 'student')


def test_the_attention_matrix(segmentor: torch.nn.Module, images: torch.Tensor) -> None:
    block = segmentor.backbone.block4[-1]
    with record_taps(segmentor, ['stage4.attention']) as taps:
        logits = segmentor(images, mode='tensor')
    matrix = taps['stage4.attention']
    assert (matrix.shape, matrix.dtype) == ((2, 2, 6, 6), torch.float32)
    torch.testing.assert_close(matrix.sum(dim=-1), torch.ones(2, 2, 6))
    # The matrix times the values is the output of the forward pass' attention.
    outputs = []
    hook = block.attn.register_forward_hook(lambda *args: outputs.extend(args[1:]))
    assert torch.equal(segmentor(images, mode='tensor'), logits)
    hook.remove()
    (tokens, height, width), output = outputs
    values = block.attn.project(tokens, height, width)[2]
    attended = (matrix @ values).transpose(1, 2).flatten(2)
    torch.testing.assert_close(block.attn.proj(attended), output)


def test_the_attention_matrix_teaches_queries_and_keys(
    segmentor: torch.nn.Module, images: torch.Tensor
) -> None:
    attn = segmentor.backbone.block4[-1].attn
    with (
        torch.autocast('cpu', torch.bfloat16),
        record_taps(segmentor, ['stage4.attention']) as taps,
    ):
        segmentor(images, mode='tensor')
    assert taps['stage4.attention'].dtype == torch.float32
    parameters = [attn.q.weight, attn.kv.weight, segmentor.backbone.block1[0].attn.q.weight]
    gradients = torch.autograd.grad(taps['stage4.attention'].square().sum(), parameters)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    # The second half of the weight computes the values.
    keys, values = gradients[1].chunk(2)
    assert keys.any() and not values.any()


def test_the_attention_matrix_costs_nothing_when_unused(
    segmentor: torch.nn.Module, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(segmentor.backbone.block4[-1]), 'attention', None)
    with record_taps(segmentor, ['logits', 'stage4', 'stage4.pre_norm']):
        segmentor(images, mode='tensor')
    with record_features(segmentor) as features:
        segmentor(images, mode='tensor')
    assert len(features) == 4


def test_attention_matrices_that_do_not_exist_are_named(segmentor: torch.nn.Module) -> None:
    only = 'only MixTransformer .* has it, .*: stage4.attention'
    with pytest.raises(UserError, match=rf"the student has no tap 'stage3.attention': {only}"):
        check_taps(segmentor, ['stage3.attention'], 'student')
    backbone = dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1])
    head = dict(tiny_model()['decode_head'], in_channels=[8, 16, 40, 64])
    theirs = MODELS.build(ConfigDict(tiny_model(backbone=backbone, decode_head=head)))
    with pytest.raises(UserError, match=rf"the teacher has no tap 'stage4.attention': {only}"):
        check_taps(theirs, ['stage4.attention'], 'teacher')
