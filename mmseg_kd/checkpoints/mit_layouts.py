"""Convert the four published layouts of Mix Transformer weights to one.

This project uses the names of the authors' release: `patch_embed{1..4}`, `block{1..4}.{j}` and
`norm{1..4}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmseg_kd.errors import UserError

# Layouts by name, with a tensor that no other layout has.
MARKERS = {
    'NVlabs': 'patch_embed1.proj.weight',
    'mmseg': 'layers.0.0.projection.weight',
    'Hugging Face 4.x': 'patch_embeddings.0.proj.weight',
    'Hugging Face 5.x': 'stages.0.patch_embeddings.proj.weight',
}
# Patterns of the other layouts and NVlabs' names. NVlabs counts stages from 1, the others from 0;
# `attn.qkv`, `attn.k` and `attn.v` mark what `_to_q_and_kv` splits or joins.
_STAGES = (
    (r'(?:layers\.(\d)\.0|patch_embeddings\.(\d)|stages\.(\d)\.patch_embeddings)\.', 'patch_embed'),
    (r'(?:layers\.(\d)\.1|block\.(\d)|stages\.(\d)\.blocks)\.', 'block'),
    (r'(?:layers\.(\d)\.2|layer_norm\.(\d)|stages\.(\d)\.layer_norm)\.', 'norm'),
)
_LAYERS = (
    (r'attention\.(self\.|output\.)?|attn\.attn\.', 'attn.'),
    (r'sequence_reduction\.layer_norm|layer_norm(?=\.)', 'norm'),
    (r'sequence_reduction\.sequence_reduction', 'sr'),
    (r'query|q_proj', 'q'),
    (r'key|k_proj', 'k'),
    (r'value|v_proj', 'v'),
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
# Layers of classifiers and segmentors that backbones do not have.
HEADS = ('head.', 'fc.', 'classifier.', 'decode_head.', 'auxiliary_head.')


def to_nvlabs(
    state_dict: Mapping[str, Tensor], source: str | Path = 'checkpoint'
) -> tuple[str, dict[str, Tensor]]:
    """Convert a Mix Transformer of any published layout to the NVlabs names.

    Heads are dropped. A backbone's name that its layout does not have stays as it is, so that
    loading reports it as unexpected.

    Args:
        state_dict: Tensors by name, under prefixes such as `backbone.`, `encoder.` or
            `segformer.encoder.`.
        source: The file's name in errors.

    Returns:
        The name of the layout found, and the converted tensors: `NVlabs` (also
        segmentation_models.pytorch), `mmseg`, `Hugging Face 4.x` or `Hugging Face 5.x`. For a stage
        of width C: `attn.q.weight` (C, C), `attn.kv.weight` (2C, C) with the keys' rows first,
        `mlp.fc1.weight` (4C, C), `mlp.fc2.weight` (C, 4C).

    Raises:
        UserError: The layout is unknown, or there is more than one backbone.
    """
    found = {
        key.removesuffix(marker): layout
        for key in state_dict
        for layout, marker in MARKERS.items()
        if re.fullmatch(rf'(.*\.)?{re.escape(marker)}', key)
    }
    if not found:
        names = ', '.join(list(state_dict)[:5])
        raise UserError(
            f'{source}: no Mix Transformer in a known layout (NVlabs, mmseg, Hugging Face),'
            f' only names such as {names}'
        )
    if len(found) > 1:
        raise UserError(
            f'{source}: holds {len(found)} Mix Transformers, under'
            f' {" and ".join(map(repr, found))}; save the one to load by itself'
        )
    ((prefix, layout),) = found.items()
    inside = {
        key.removeprefix(prefix): value
        for key, value in state_dict.items()
        if key.startswith(prefix) and not key.removeprefix(prefix).startswith(HEADS)
    }
    return layout, _to_q_and_kv({_rename(key): value for key, value in inside.items()})


def to_segformer(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str | Path
) -> Mapping[str, Tensor]:
    """Convert a whole SegFormer, backbone and head, to the names of this project.

    Args:
        own: The model's tensors.
        found: The file's. Those of another model, or under the model's own names, stay.
        source: The file's name in errors.
    """
    embedding = f'backbone.{MARKERS["NVlabs"]}'
    foreign = tuple(list(MARKERS.values())[1:])
    if embedding not in own or embedding in found or not any(k.endswith(foreign) for k in found):
        return found
    backbone = {f'backbone.{key}': value for key, value in to_nvlabs(found, source)[1].items()}
    heads = {key: value for key, value in found.items() if key.startswith('decode_head.')}
    if 'decode_head.linear_fuse.weight' in heads:
        heads = {_substitute(key, _HEAD): value for key, value in heads.items()}
    return backbone | heads


def _rename(key: str) -> str:
    """Return the name in the NVlabs layout; names of no layout stay."""
    for stage_pattern, part in _STAGES:
        if match := re.match(stage_pattern, key):
            (stage,) = filter(None, match.groups())
            return f'{part}{int(stage) + 1}.{_substitute(key[match.end() :], _LAYERS)}'
    return key


def _substitute(key: str, table: Iterable[tuple]) -> str:
    for pattern, name in table:
        key = re.sub(pattern, name, key)
    return key


def _to_q_and_kv(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
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
