"""Rename the published layouts of Mix Transformer weights to the names of this project.

These are the names of the authors' release (NVlabs): `patch_embed{1..4}`, `block{1..4}.{j}` and
`norm{1..4}`. The other layouts are those of mmseg and of Hugging Face's transformers 4 and 5.
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

# A tensor that every Mix Transformer has.
EMBEDDING = 'patch_embed1.proj.weight'
# Patterns of the other layouts, and NVlabs' names. NVlabs counts stages from 1, the others from 0.
# `to_nvlabs` splits `attn.qkv`, and joins `attn.k` and `attn.v`.
_STAGES = (
    (r'(?:layers\.(\d)\.0|patch_embeddings\.(\d)|stages\.(\d)\.patch_embeddings)', 'patch_embed'),
    (r'(?:layers\.(\d)\.1|block\.(\d)|stages\.(\d)\.blocks)', 'block'),
    (r'(?:layers\.(\d)\.2|layer_norm\.(\d)|stages\.(\d)\.layer_norm)', 'norm'),
)
_LAYERS = (
    (r'attention\.(self\.|output\.)?|attn\.attn\.', 'attn.'),
    (r'sequence_reduction\.layer_norm|layer_norm(?=\.)', 'norm'),
    (r'sequence_reduction\.sequence_reduction', 'sr'),
    (r'query|key|value|[qkv]_proj', lambda match: match[0][0]),
    (r'in_proj_', 'qkv.'),
    (r'out_proj|o_proj|(?<=attn\.)dense|projection', 'proj'),
    (r'layer_norm_1|layernorm_before', 'norm1'),
    (r'layer_norm_2|layernorm_after', 'norm2'),
    (r'mlp\.dense1|ffn\.layers\.0', 'mlp.fc1'),
    (r'mlp\.dense2|ffn\.layers\.4', 'mlp.fc2'),
    (r'ffn\.layers\.1', 'mlp.dwconv.dwconv'),
)
# Layers of Hugging Face's head.
_HEAD = (
    (r'(?:linear_c|linear_projections)\.(\d)', lambda match: f'linear_c{int(match[1]) + 1}'),
    (r'linear_fuse', 'linear_fuse.conv'),
    (r'batch_norm', 'linear_fuse.bn'),
    (r'\.classifier', '.linear_pred'),
)


def to_nvlabs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a Mix Transformer of any published layout to the NVlabs names.

    Prefixes, for example `backbone.` or `segformer.encoder.`, and unknown names are kept.

    Args:
        tensors: Tensors by name.

    Returns:
        Tensors by name. For a stage of width C: `attn.q.weight` (C, C), `attn.kv.weight` (2C, C)
        with the keys' rows first, `mlp.fc1.weight` (4C, C), `mlp.fc2.weight` (C, 4C).
    """
    tensors = {_rename(key): value for key, value in tensors.items()}
    result = dict(tensors)
    for key, value in tensors.items():
        values_key = key.replace('.attn.k.', '.attn.v.')
        if '.attn.qkv.' in key and value.ndim:
            width = len(value) // 3
            result[key.replace('.qkv.', '.q.')] = value[:width]
            result[key.replace('.qkv.', '.kv.')] = value[width:]
            del result[key]
        elif '.attn.k.' in key and value.shape == getattr(tensors.get(values_key), 'shape', None):
            joint = torch.stack([result.pop(key), result.pop(values_key)])
            result[key.replace('.k.', '.kv.')] = joint.flatten(0, 1)
        elif value.ndim == 4 and key.endswith(('.mlp.fc1.weight', '.mlp.fc2.weight')):
            result[key] = value.flatten(1)  # a 1x1 convolution is a linear layer
    return result


def to_segformer(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename a whole SegFormer, backbone and head, to the names of this project.

    Args:
        own: The model's tensors.
        found: The file's tensors. Those of other models are returned unchanged.
    """
    if f'backbone.{EMBEDDING}' not in own or f'backbone.{EMBEDDING}' in found:
        return found
    tensors = to_nvlabs(found)
    is_hugging_face = 'decode_head.linear_fuse.weight' in tensors
    table = ((r'^segformer\.(encoder\.)?', 'backbone.'), *(_HEAD if is_hugging_face else ()))
    return {_substitute(key, table): value for key, value in tensors.items()}


def _rename(key: str) -> str:
    for pattern, part in _STAGES:
        if match := re.match(rf'((?:.+\.)?){pattern}\.(.+)', key):
            prefix, *stages, layer = match.groups()
            (stage,) = filter(None, stages)
            return f'{prefix}{part}{int(stage) + 1}.{_substitute(layer, _LAYERS)}'
    return key


def _substitute(key: str, table: Iterable[tuple]) -> str:
    for pattern, name in table:
        key = re.sub(pattern, name, key)
    return key
