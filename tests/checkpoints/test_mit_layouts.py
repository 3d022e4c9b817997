from __future__ import annotations

import pytest
import torch
from mit_files import (
    B0,
    LAYOUTS,
    TINY,
    Backbone,
    assert_same,
    nvlabs_tensors,
    to_hugging_face,
    to_mmseg,
)
from mmseg.models import MixVisionTransformer
from torch import nn
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerModel,
)

from mmseg_kd.checkpoints.mit_layouts import to_nvlabs
from mmseg_kd.checkpoints.pretrained import fit_backbone
from mmseg_kd.errors import UserError


def hugging_face_config(size):
    return SegformerConfig(
        depths=list(size['depths']), hidden_sizes=[size['width'] * heads for heads in size['heads']]
    )


def mmseg_model(size):
    return MixVisionTransformer(
        embed_dims=size['width'], num_layers=size['depths'], num_heads=size['heads'], qkv_bias=True
    )


class TestLayouts:
    @pytest.mark.parametrize(('size', 'count'), [('B0', 176), ('B2', 332)])
    @pytest.mark.parametrize('layout', LAYOUTS)
    def test_one_model_in_every_layout(self, layout, size, count):
        tensors = nvlabs_tensors(size)
        assert len(tensors) == count
        assert_same(to_nvlabs(LAYOUTS[layout](tensors)), tensors)

    @pytest.mark.parametrize(
        'prefix',
        ['module.', 'backbone.', 'encoder.', 'model.encoder.', 'module.backbone.', 'model.'],
    )
    @pytest.mark.parametrize('layout', LAYOUTS)
    def test_prefixes_and_heads(self, layout, prefix):
        tensors = nvlabs_tensors('tiny')
        source = {prefix + key: value for key, value in LAYOUTS[layout](tensors).items()}
        for head in ('decode_head.conv_seg', 'classifier', f'{prefix}head', f'{prefix}classifier'):
            source |= {f'{head}.weight': torch.ones(2, 2), f'{head}.bias': torch.ones(2)}
        assert_same(fit_backbone(Backbone(tensors), source, 'x.pth')[0], tensors)

    @pytest.mark.parametrize('prefix', ['segformer.encoder.', 'encoder.', ''])
    def test_hugging_face_4_prefixes(self, prefix):
        tensors = nvlabs_tensors('tiny')
        source = {prefix + key: value for key, value in to_hugging_face(tensors, 4).items()}
        assert_same(fit_backbone(Backbone(tensors), source, 'x.pth')[0], tensors)

    def test_attention_by_value(self):
        source = mmseg_model(TINY).state_dict()
        converted = to_nvlabs(source)
        joint = source['layers.1.1.0.attn.attn.in_proj_weight']
        assert torch.equal(converted['block2.0.attn.q.weight'], joint[:16])
        assert torch.equal(converted['block2.0.attn.kv.weight'], joint[16:])
        assert sum(value.numel() for value in converted.values()) == sum(
            value.numel() for value in source.values()
        )

    def test_unknown(self):
        names = {f'layer{n}.weight': torch.ones(1) for n in range(9)}
        with pytest.raises(UserError) as caught:
            fit_backbone(Backbone(nvlabs_tensors('tiny')), names, 'r50.pth')
        assert str(caught.value).startswith('r50.pth does not fit Backbone: 0 of ')
        assert 'unexpected 9 (layer0.weight, layer1.weight, ' in str(caught.value)
        assert str(caught.value).endswith('; the file is of another architecture')

    def test_two_backbones(self):
        tensors = nvlabs_tensors('tiny')
        both = {f'{p}.{k}': v for p in ('backbone', 'teacher.backbone') for k, v in tensors.items()}
        with pytest.raises(UserError, match=r"several .*'backbone\.' and 'teacher\.backbone\.'"):
            fit_backbone(Backbone(tensors), both, 'x.pth')

    def test_mmseg_names_are_those_of_the_model(self):
        own = mmseg_model(B0).state_dict()
        ours = to_mmseg(nvlabs_tensors('B0'))
        assert {key: value.shape for key, value in own.items()} == {
            key: value.shape for key, value in ours.items()
        }

    @pytest.mark.parametrize(
        'model', [SegformerModel, SegformerForImageClassification, SegformerForSemanticSegmentation]
    )
    def test_hugging_face_5_names_are_those_of_the_model(self, model):
        own, tensors = model(hugging_face_config(B0)).state_dict(), nvlabs_tensors('B0')
        converted, report = fit_backbone(Backbone(tensors), own, 'x.pth')
        assert report.startswith('x.pth: matched 176/176 tensors of the backbone')
        expected = {key: value.shape for key, value in tensors.items()}
        assert {key: value.shape for key, value in converted.items()} == expected

    def test_hugging_face_reads_4_names_as_we_do(self, tmp_path):
        tensors = nvlabs_tensors('tiny')
        config = hugging_face_config(TINY)
        config.save_pretrained(tmp_path)
        old = {f'segformer.encoder.{k}': v for k, v in to_hugging_face(tensors, 4).items()}
        torch.save(old, tmp_path / 'pytorch_model.bin')
        model = SegformerModel.from_pretrained(tmp_path)
        assert_same(to_nvlabs(model.state_dict()), tensors)

    def test_attention_equals_torch(self):
        torch.manual_seed(0)
        attention = nn.MultiheadAttention(16, 2, batch_first=True)
        joint = {f'layers.1.1.0.attn.attn.{k}': v for k, v in attention.state_dict().items()}
        joint['layers.0.0.projection.weight'] = torch.ones(1)
        converted = to_nvlabs(joint)
        layer = {k.removeprefix('block2.0.attn.'): v for k, v in converted.items()}
        x = torch.randn(1, 6, 16)
        linear = nn.functional.linear
        q = linear(x, layer['q.weight'], layer['q.bias'])
        k, v = linear(x, layer['kv.weight'], layer['kv.bias']).chunk(2, -1)
        q, k, v = (t.view(1, 6, 2, 8).transpose(1, 2) for t in (q, k, v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        ours = linear(mixed, layer['proj.weight'], layer['proj.bias'])
        torch.testing.assert_close(ours, attention(x, x, x)[0], atol=1e-6, rtol=1e-5)
