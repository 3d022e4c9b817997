"""Load ImageNet weights into a Mix Transformer and report how many tensors matched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from mmseg_kd.checkpoints.matching import Match
from mmseg_kd.checkpoints.mit_layouts import to_nvlabs
from mmseg_kd.checkpoints.safe_load import read_checkpoint, sha256_of, state_dict_of
from mmseg_kd.checkpoints.sources import find_weights
from mmseg_kd.errors import UserError

# (channels of stage 1, blocks per stage)
_VARIANTS = {
    (32, (2, 2, 2, 2)): 'MiT-B0',
    (64, (2, 2, 2, 2)): 'MiT-B1',
    (64, (3, 4, 6, 3)): 'MiT-B2',
    (64, (3, 4, 18, 3)): 'MiT-B3',
    (64, (3, 8, 27, 3)): 'MiT-B4',
    (64, (3, 6, 40, 3)): 'MiT-B5',
}


def load_pretrained(backbone: nn.Module, path: str | Path, strict: bool = True) -> str:
    """Load Mix Transformer weights of any published layout into a backbone.

    Args:
        backbone: Its state dict has the NVlabs names.
        path: The file or its URL, in the layout of NVlabs, mmseg or Hugging Face.
        strict: Refuse a file that does not fill every tensor of the backbone.

    Returns:
        One line for the log: layout, hash and how many tensors matched, such as
        `pretrained/mit_b0.pth: NVlabs layout, sha256 4af8348c, matched 176/176 tensors`.

    Raises:
        UserError: There is no such file, it cannot be read, nothing matches, or
            with `strict` something of the backbone or of the file is left over.
            The backbone is then as it was.
    """
    path = find_weights(path)
    if not path.exists():
        raise UserError(
            f'{path}: no such file; fetch it from OpenMMLab (mit_b0_20220624-7e0fe6dd.pth),'
            ' the SegFormer authors or Hugging Face (nvidia/mit-b0), see pretrained/README.md'
            " (not shipped: NVIDIA's licence is non-commercial), or train from scratch with"
            ' --cfg-options model.pretrained=None'
        )
    layout, tensors = to_nvlabs(state_dict_of(read_checkpoint(path), path), path)
    own = backbone.state_dict()
    match = Match(own, tensors)
    if not match.matched or (strict and match.differences()):
        file, model = _variant(tensors), _variant(own)
        other = f'; the file is {file}, the backbone {model}' if file != model else ''
        raise UserError(
            f'{path}: {layout} layout does not fill {type(backbone).__name__}: '
            f'{match.report}{other}'
        )
    backbone.load_state_dict({key: tensors[key] for key in match.matched}, strict=False)
    return f'{path}: {layout} layout, sha256 {sha256_of(path)[:8]}, {match.report}'


def _variant(tensors: Mapping[str, Tensor]) -> str:
    embedding = tensors.get('patch_embed1.proj.weight')
    width = len(embedding) if embedding is not None and embedding.ndim else 0
    blocks = {match[0] for key in tensors if (match := re.match(r'block(\d)\.\d+', key))}
    depths = tuple(sum(name.startswith(f'block{s}.') for name in blocks) for s in range(1, 5))
    unnamed = f'a MiT of width {width} and depths {"/".join(map(str, depths))}'
    return _VARIANTS.get((width, depths), unnamed)
