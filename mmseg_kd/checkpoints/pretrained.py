"""Load pretrained weights into a backbone and report how many tensors matched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from mmseg_kd.checkpoints.matching import fit
from mmseg_kd.checkpoints.mit_layouts import to_nvlabs
from mmseg_kd.checkpoints.safe_load import read_checkpoint, sha256_of, state_dict_of
from mmseg_kd.checkpoints.sources import find_weights
from mmseg_kd.errors import UserError


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
    file, own = _size(tensors), _size(backbone.state_dict())
    hint = f'the file is {file}, the backbone {own}' if file != own else ''
    fitting, report = fit(backbone, tensors, f'{path} ({layout} layout)', hint, strict)
    backbone.load_state_dict(fitting, strict=False)
    return f'{path}: {layout} layout, sha256 {sha256_of(path)[:8]}, {report}'


def _size(tensors: Mapping[str, Tensor]) -> str:
    width = tensors['patch_embed1.proj.weight'].shape[:1].numel()
    blocks = {match[1] for key in tensors if (match := re.match(r'block((\d)\.\d+)', key))}
    depths = '/'.join(str(sum(name.startswith(stage) for name in blocks)) for stage in '1234')
    return f'a MiT of width {width} and depths {depths}'
