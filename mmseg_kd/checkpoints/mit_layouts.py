"""Convert the four published layouts of Mix Transformer weights to one.

This project uses the names of the authors' release: `patch_embed{1..4}`, `block{1..4}.{j}` and
`norm{1..4}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mmseg_kd.errors import UserError


@dataclass(frozen=True)
class _Layout:
    """The names of the parts of a stage in a layout; stages are counted from `first`.

    Each pattern captures the stage; that of a block captures the block too. The rest of a name is
    the layer inside the part, which `inside` translates.
    """

    name: str
    marker: str
    embed: str
    block: str
    norm: str
    inside: Mapping[str, str] = field(default_factory=dict)
    first: int = 0

    def prefixes(self, keys: Iterable[str]) -> list[str]:
        """Return the prefix of each backbone's names."""
        marker = re.compile(rf'((?:.*\.)?){re.escape(self.marker)}')
        return [match[1] for match in map(marker.fullmatch, keys) if match]

    def rename(self, key: str) -> str:
        """Return the name in the NVlabs layout; names unknown to the layout stay."""
        if not (tensor := re.fullmatch(r'(.+)[._](weight|bias)', key)):
            return key
        for part, pattern in (
            ('patch_embed', self.embed),
            ('block', self.block),
            ('norm', self.norm),
        ):
            if match := re.fullmatch(rf'{pattern}(?:\.(\D.*))?', tensor[1]):
                stage, *names = filter(None, match.groups())
                names = [self.inside.get(name, name) for name in names]
                return '.'.join([f'{part}{int(stage) - self.first + 1}', *names, tensor[2]])
        return key


# `attn.qkv`, `attn.k` and `attn.v` occur in no layout: they mark the tensors that `_to_q_and_kv`
# splits or joins.
_LAYOUTS = (
    _Layout(
        'NVlabs',
        marker='patch_embed1.proj.weight',
        embed=r'patch_embed(\d)',
        block=r'block(\d)\.(\d+)',
        norm=r'norm(\d)',
        first=1,
    ),
    _Layout(
        'mmseg',
        marker='layers.0.0.projection.weight',
        embed=r'layers\.(\d)\.0',
        block=r'layers\.(\d)\.1\.(\d+)',
        norm=r'layers\.(\d)\.2',
        inside={
            'projection': 'proj',
            'attn.attn.in_proj': 'attn.qkv',
            'attn.attn.out_proj': 'attn.proj',
            'ffn.layers.0': 'mlp.fc1',
            'ffn.layers.1': 'mlp.dwconv.dwconv',
            'ffn.layers.4': 'mlp.fc2',
        },
    ),
    _Layout(
        'Hugging Face 4.x',
        marker='patch_embeddings.0.proj.weight',
        embed=r'patch_embeddings\.(\d)',
        block=r'block\.(\d)\.(\d+)',
        norm=r'layer_norm\.(\d)',
        inside={
            'layer_norm': 'norm',
            'layer_norm_1': 'norm1',
            'layer_norm_2': 'norm2',
            'attention.self.query': 'attn.q',
            'attention.self.key': 'attn.k',
            'attention.self.value': 'attn.v',
            'attention.self.sr': 'attn.sr',
            'attention.self.layer_norm': 'attn.norm',
            'attention.output.dense': 'attn.proj',
            'mlp.dense1': 'mlp.fc1',
            'mlp.dense2': 'mlp.fc2',
        },
    ),
    _Layout(
        'Hugging Face 5.x',
        marker='stages.0.patch_embeddings.proj.weight',
        embed=r'stages\.(\d)\.patch_embeddings',
        block=r'stages\.(\d)\.blocks\.(\d+)',
        norm=r'stages\.(\d)\.layer_norm',
        inside={
            'layer_norm': 'norm',
            'layernorm_before': 'norm1',
            'layernorm_after': 'norm2',
            'attention.q_proj': 'attn.q',
            'attention.k_proj': 'attn.k',
            'attention.v_proj': 'attn.v',
            'attention.o_proj': 'attn.proj',
            'attention.sequence_reduction.sequence_reduction': 'attn.sr',
            'attention.sequence_reduction.layer_norm': 'attn.norm',
        },
    ),
)
_HEADS = ('head.', 'classifier.', 'decode_head.', 'auxiliary_head.')


def detect_layout(keys: Iterable[str]) -> str | None:
    """Return the layout's name of Mix Transformer weights, under any prefix.

    Args:
        keys: The names of a state dict.

    Returns:
        `NVlabs` (also segmentation_models.pytorch), `mmseg`, `Hugging Face 4.x`,
        `Hugging Face 5.x`, or None.
    """
    layout = _layout_of(list(keys))
    return layout.name if layout else None


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
        The name of the layout found, and the converted tensors. For a stage of
        width C: `attn.q.weight` (C, C), `attn.kv.weight` (2C, C) with the keys'
        rows first, `mlp.fc1.weight` (4C, C), `mlp.fc2.weight` (C, 4C).

    Raises:
        UserError: The layout is unknown, or there is more than one backbone.
    """
    layout = _layout_of(list(state_dict))
    if layout is None:
        names = ', '.join(list(state_dict)[:5])
        raise UserError(
            f'{source}: no Mix Transformer in a known layout (NVlabs, mmseg, Hugging Face),'
            f' only names such as {names}'
        )
    prefixes = layout.prefixes(state_dict)
    if len(prefixes) > 1:
        raise UserError(
            f'{source}: holds {len(prefixes)} Mix Transformers, under'
            f' {" and ".join(map(repr, prefixes))}; save the one to load by itself'
        )
    prefix = prefixes[0]
    inside = {
        key.removeprefix(prefix): value
        for key, value in state_dict.items()
        if key.startswith(prefix) and not key.removeprefix(prefix).startswith(_HEADS)
    }
    return layout.name, _to_q_and_kv({layout.rename(key): value for key, value in inside.items()})


def _layout_of(keys: list[str]) -> _Layout | None:
    return next((layout for layout in _LAYOUTS if layout.prefixes(keys)), None)


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
