from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from mmseg.models import MixVisionTransformer
from torch import nn
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerModel,
)

from mmseg_kd.checkpoints import detect_layout, load_pretrained, sha256_of, to_nvlabs
from mmseg_kd.errors import UserError

B0 = dict(width=32, heads=(1, 2, 5, 8), depths=(2, 2, 2, 2))
B2 = dict(width=64, heads=(1, 2, 5, 8), depths=(3, 4, 6, 3))
TINY = dict(width=8, heads=(1, 2, 5, 8), depths=(1, 2, 1, 1))


@cache
def nvlabs_tensors(name: str) -> dict[str, torch.Tensor]:
    """Distinct tensors under the names of the authors' release."""
    size = dict(B0=B0, B2=B2, tiny=TINY)[name]
    shapes = {}
    before = 3
    for stage, (heads, depth) in enumerate(zip(size['heads'], size['depths'], strict=True), 1):
        c, sr = size['width'] * heads, (8, 4, 2, 1)[stage - 1]
        kernel = 7 if stage == 1 else 3
        embed = f'patch_embed{stage}'
        shapes |= {f'{embed}.proj.weight': (c, before, kernel, kernel), f'{embed}.proj.bias': (c,)}
        for norm in (f'{embed}.norm', f'norm{stage}'):
            shapes |= {f'{norm}.weight': (c,), f'{norm}.bias': (c,)}
        for j in range(depth):
            block = f'block{stage}.{j}'
            layers = {
                'norm1': (c,),
                'attn.q': (c, c),
                'attn.kv': (2 * c, c),
                'attn.proj': (c, c),
                'norm2': (c,),
                'mlp.fc1': (4 * c, c),
                'mlp.dwconv.dwconv': (4 * c, 1, 3, 3),
                'mlp.fc2': (c, 4 * c),
            }
            if sr > 1:
                layers |= {'attn.sr': (c, c, sr, sr), 'attn.norm': (c,)}
            for layer, shape in layers.items():
                shapes |= {f'{block}.{layer}.weight': shape, f'{block}.{layer}.bias': shape[:1]}
        before = c
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def to_mmseg(tensors):
    result = {}
    for key, value in tensors.items():
        if re.search(r'attn\.kv\.', key):
            continue
        if '.attn.q.' in key:
            value = torch.cat([value, tensors[key.replace('.q.', '.kv.')]])
        if re.search(r'mlp\.fc\d\.weight', key):
            value = value[:, :, None, None]
        key = re.sub(
            r'^patch_embed(\d)\.proj', lambda m: f'layers.{int(m[1]) - 1}.0.projection', key
        )
        key = re.sub(r'^patch_embed(\d)', lambda m: f'layers.{int(m[1]) - 1}.0', key)
        key = re.sub(r'^block(\d)', lambda m: f'layers.{int(m[1]) - 1}.1', key)
        key = re.sub(r'^norm(\d)', lambda m: f'layers.{int(m[1]) - 1}.2', key)
        key = key.replace('attn.q.', 'attn.attn.in_proj_').replace(
            'attn.proj', 'attn.attn.out_proj'
        )
        key = key.replace('mlp.fc1', 'ffn.layers.0').replace('mlp.fc2', 'ffn.layers.4')
        result[key.replace('mlp.dwconv.dwconv', 'ffn.layers.1')] = value
    return result


HF4 = {
    'norm1.': 'layer_norm_1.',
    'norm2.': 'layer_norm_2.',
    'attn.q.': 'attention.self.query.',
    'attn.k.': 'attention.self.key.',
    'attn.v.': 'attention.self.value.',
    'attn.sr.': 'attention.self.sr.',
    'attn.norm.': 'attention.self.layer_norm.',
    'attn.proj.': 'attention.output.dense.',
    'mlp.fc': 'mlp.dense',
}
HF5 = {
    'norm1.': 'layernorm_before.',
    'norm2.': 'layernorm_after.',
    'attn.q.': 'attention.q_proj.',
    'attn.k.': 'attention.k_proj.',
    'attn.v.': 'attention.v_proj.',
    'attn.sr.': 'attention.sequence_reduction.sequence_reduction.',
    'attn.norm.': 'attention.sequence_reduction.layer_norm.',
    'attn.proj.': 'attention.o_proj.',
}


def to_hugging_face(tensors, version):
    split = {}
    for key, value in tensors.items():
        if '.attn.kv.' in key:
            split[key.replace('.kv.', '.k.')], split[key.replace('.kv.', '.v.')] = value.chunk(2)
        else:
            split[key] = value
    result = {}
    for key, value in split.items():
        part, stage, rest = re.fullmatch(r'(patch_embed|block|norm)(\d)\.(.+)', key).groups()
        i = int(stage) - 1
        if part == 'patch_embed':
            rest = rest.replace('norm.', 'layer_norm.')
        for ours, theirs in (HF4 if version == 4 else HF5).items():
            rest = re.sub(rf'(?<=\d\.){re.escape(ours)}', theirs, rest) if part == 'block' else rest
        if version == 4:
            names = {'patch_embed': 'patch_embeddings', 'block': 'block', 'norm': 'layer_norm'}
            result[f'{names[part]}.{i}.{rest}'] = value
        else:
            names = {'patch_embed': 'patch_embeddings', 'block': 'blocks', 'norm': 'layer_norm'}
            result[f'stages.{i}.{names[part]}.{rest}'] = value
    return result


LAYOUTS = {
    'NVlabs': lambda tensors: dict(tensors),
    'mmseg': to_mmseg,
    'Hugging Face 4.x': lambda tensors: to_hugging_face(tensors, 4),
    'Hugging Face 5.x': lambda tensors: to_hugging_face(tensors, 5),
}


def assert_same(one, other):
    assert set(one) == set(other)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def hugging_face_config(size):
    return SegformerConfig(
        depths=list(size['depths']), hidden_sizes=[size['width'] * heads for heads in size['heads']]
    )


def mmseg_model(size):
    return MixVisionTransformer(
        embed_dims=size['width'], num_layers=size['depths'], num_heads=size['heads'], qkv_bias=True
    )


class Backbone(nn.Module):
    """Parameters under the NVlabs names and nothing else."""

    def __init__(self, tensors):
        super().__init__()
        for key, value in tensors.items():
            *path, leaf = key.split('.')
            module = self
            for name in path:
                if name not in module._modules:
                    module.add_module(name, nn.Module())
                module = module._modules[name]
            module.register_parameter(leaf, nn.Parameter(torch.zeros_like(value)))


class TestLayouts:
    @pytest.mark.parametrize(('size', 'count'), [('B0', 176), ('B2', 332)])
    @pytest.mark.parametrize('layout', LAYOUTS)
    def test_one_model_in_every_layout(self, layout, size, count):
        tensors = nvlabs_tensors(size)
        assert len(tensors) == count
        found, converted = to_nvlabs(LAYOUTS[layout](tensors))
        assert found == layout
        assert_same(converted, tensors)

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
        assert detect_layout(source) == layout
        assert_same(to_nvlabs(source)[1], tensors)

    @pytest.mark.parametrize('prefix', ['segformer.encoder.', 'encoder.', ''])
    def test_hugging_face_4_prefixes(self, prefix):
        tensors = nvlabs_tensors('tiny')
        source = {prefix + key: value for key, value in to_hugging_face(tensors, 4).items()}
        assert to_nvlabs(source)[0] == 'Hugging Face 4.x'
        assert_same(to_nvlabs(source)[1], tensors)

    def test_attention_by_value(self):
        source = mmseg_model(TINY).state_dict()
        _, converted = to_nvlabs(source)
        joint = source['layers.1.1.0.attn.attn.in_proj_weight']
        assert torch.equal(converted['block2.0.attn.q.weight'], joint[:16])
        assert torch.equal(converted['block2.0.attn.kv.weight'], joint[16:])
        assert sum(value.numel() for value in converted.values()) == sum(
            value.numel() for value in source.values()
        )

    def test_unknown(self):
        assert detect_layout(['conv1.weight']) is None
        names = {f'layer{n}.weight': torch.ones(1) for n in range(9)}
        with pytest.raises(UserError) as caught:
            to_nvlabs(names, 'r50.pth')
        assert str(caught.value).startswith('r50.pth: no Mix Transformer in a known layout')
        assert str(caught.value).endswith(', '.join(list(names)[:5]))

    def test_two_backbones(self):
        tensors = nvlabs_tensors('tiny')
        both = {f'{p}.{k}': v for p in ('backbone', 'teacher.backbone') for k, v in tensors.items()}
        with pytest.raises(UserError, match=r"holds 2 .*'backbone\.' and 'teacher\.backbone\.'"):
            to_nvlabs(both)

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
        own = model(hugging_face_config(B0)).state_dict()
        layout, converted = to_nvlabs(own)
        assert layout == 'Hugging Face 5.x'
        expected = {key: value.shape for key, value in nvlabs_tensors('B0').items()}
        assert {key: value.shape for key, value in converted.items()} == expected

    def test_hugging_face_reads_4_names_as_we_do(self, tmp_path):
        tensors = nvlabs_tensors('tiny')
        config = hugging_face_config(TINY)
        config.save_pretrained(tmp_path)
        old = {f'segformer.encoder.{k}': v for k, v in to_hugging_face(tensors, 4).items()}
        torch.save(old, tmp_path / 'pytorch_model.bin')
        model = SegformerModel.from_pretrained(tmp_path)
        assert_same(to_nvlabs(model.state_dict())[1], tensors)

    def test_attention_equals_torch(self):
        torch.manual_seed(0)
        attention = nn.MultiheadAttention(16, 2, batch_first=True)
        joint = {f'layers.1.1.0.attn.attn.{k}': v for k, v in attention.state_dict().items()}
        joint['layers.0.0.projection.weight'] = torch.ones(1)
        _, converted = to_nvlabs(joint)
        layer = {k.removeprefix('block2.0.attn.'): v for k, v in converted.items()}
        x = torch.randn(1, 6, 16)
        linear = nn.functional.linear
        q = linear(x, layer['q.weight'], layer['q.bias'])
        k, v = linear(x, layer['kv.weight'], layer['kv.bias']).chunk(2, -1)
        q, k, v = (t.view(1, 6, 2, 8).transpose(1, 2) for t in (q, k, v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        ours = linear(mixed, layer['proj.weight'], layer['proj.bias'])
        torch.testing.assert_close(ours, attention(x, x, x)[0], atol=1e-6, rtol=1e-5)


class TestLoadPretrained:
    def refusal(self, backbone, path, **kwargs) -> str:
        with pytest.raises(UserError) as caught:
            load_pretrained(backbone, path, **kwargs)
        assert all(not value.any() for value in backbone.state_dict().values())
        assert '\n' not in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize('layout', LAYOUTS)
    def test_report(self, tmp_path, layout):
        tensors = nvlabs_tensors('B0')
        path = tmp_path / 'mit_b0.pth'
        torch.save({'state_dict': LAYOUTS[layout](tensors)}, path)
        backbone = Backbone(tensors)
        sha = sha256_of(path)[:8]
        assert load_pretrained(backbone, path) == (
            f'{path}: {layout} layout, sha256 {sha}, matched 176/176 tensors'
        )
        assert_same(backbone.state_dict(), tensors)

    def test_wrong_variant(self, tmp_path):
        path = tmp_path / 'mit_b2.pth'
        torch.save(nvlabs_tensors('B2'), path)
        message = self.refusal(Backbone(nvlabs_tensors('B0')), path)
        assert message.endswith('the file is MiT-B2, the backbone MiT-B0')
        assert 'matched 0/176 tensors' in message

    def test_part_of_it(self, tmp_path):
        path = tmp_path / 'part.pth'
        tensors = dict(nvlabs_tensors('tiny'))
        del tensors['norm4.weight']
        tensors['block1.0.attn.extra.weight'] = torch.ones(3)
        torch.save(tensors, path)
        backbone = Backbone(nvlabs_tensors('tiny'))
        total = len(nvlabs_tensors('tiny'))
        difference = (
            f'matched {total - 1}/{total} tensors, missing 1 (norm4.weight), '
            'unexpected 1 (block1.0.attn.extra.weight)'
        )
        assert self.refusal(backbone, path).endswith(difference)
        assert load_pretrained(backbone, path, strict=False).endswith(difference)
        own = backbone.state_dict()
        assert not own.pop('norm4.weight').any()
        assert_same(own, {key: nvlabs_tensors('tiny')[key] for key in own})

    def test_deeper_file_is_refused(self, tmp_path):
        path = tmp_path / 'deep.pth'
        torch.save(nvlabs_tensors('tiny'), path)
        shallow = {k: v for k, v in nvlabs_tensors('tiny').items() if not k.startswith('block2.1.')}
        message = self.refusal(Backbone(shallow), path)
        assert 'unexpected 20' in message
        assert message.endswith(
            'the file is a MiT of width 8 and depths 1/2/1/1,'
            ' the backbone a MiT of width 8 and depths 1/1/1/1'
        )

    def test_nothing_matches(self, tmp_path):
        path = tmp_path / 'mit_b0.pth'
        torch.save({'patch_embed1.proj.weight': torch.ones(3)}, path)
        self.refusal(Backbone(nvlabs_tensors('tiny')), path, strict=False)

    def test_missing_file(self, tmp_path):
        message = self.refusal(Backbone({'w.weight': torch.ones(1)}), tmp_path / 'mit_b0.pth')
        for part in ('mit_b0_20220624-7e0fe6dd.pth', 'nvidia/mit-b0', 'non-commercial'):
            assert part in message
        assert message.endswith('--cfg-options model.pretrained=None')

    def test_safetensors(self, tmp_path):
        from safetensors.torch import save_file

        tensors = nvlabs_tensors('tiny')
        path = tmp_path / 'model.safetensors'
        source = {f'segformer.encoder.{k}': v for k, v in to_hugging_face(tensors, 4).items()}
        save_file({key: value.contiguous() for key, value in source.items()}, path)
        assert 'Hugging Face 4.x layout' in load_pretrained(Backbone(tensors), path)
