"""The weights of Mix Transformers in the four published layouts."""

from __future__ import annotations

import re
from functools import cache

import torch
from torch import nn

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
