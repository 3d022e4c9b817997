"""The stock counterpart of a config: the same network, from mmseg's own parts.

MiT becomes mmseg's `MixVisionTransformer`, `SegFormerHead` mmseg's `SegformerHead`.
"""

import copy
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.errors import UserError
from mmseg_kd.models.mit import VARIANTS


def stock_model(model_cfg: ConfigDict, teacher_cfg: ConfigDict | None = None) -> EncoderDecoder:
    """Build the stock counterpart of a SegFormer config, with random weights.

    Args:
        model_cfg: The `model` of a config with a MiT backbone and a `SegFormerHead`.
        teacher_cfg: The `model` of the teacher; with it the model is a `StockStudent`.

    Raises:
        UserError: The backbone or the head has no stock counterpart here.
    """
    cfg = ConfigDict(copy.deepcopy(dict(model_cfg)))
    backbone, head = cfg.backbone, cfg.decode_head
    if backbone.type not in VARIANTS or head.type != 'SegFormerHead':
        raise UserError(f'mmseg has no counterpart of {backbone.type} with {head.type}')
    for key in ('type', 'teacher', 'kd_losses', 'pretrained'):
        cfg.pop(key, None)
    cfg.data_preprocessor.type = 'SegDataPreProcessor'
    widths, depths = VARIANTS[backbone.type]
    cfg.backbone = dict(
        type='MixVisionTransformer',
        embed_dims=widths[0],
        num_layers=list(depths),
        num_heads=[1, 2, 5, 8],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        drop_path_rate=backbone.get('drop_path_rate', 0.1),
    )
    head.channels, head.type = head.pop('embed_dim', 256), 'SegformerHead'
    if teacher_cfg is None:
        return EncoderDecoder(**cfg)
    return StockStudent(stock_model(teacher_cfg), model_cfg.kd_losses, **cfg)


class StockStudent(EncoderDecoder):
    """A stock student with a frozen stock teacher and the same losses on the modules' outputs.

    A loss that reads a stage before its norm reads the stage's output, which has the same size.
    """

    def __init__(self, teacher: EncoderDecoder, kd_losses: ConfigDict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kd_losses = nn.ModuleDict({n: MODELS.build(x) for n, x in kd_losses.items() if x})
        # Not a submodule: its weights belong neither to the optimizer nor to the checkpoint.
        object.__setattr__(self, 'teacher', teacher.eval().requires_grad_(False))

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Compute the student's loss and the weighted distillation losses."""
        with torch.no_grad():
            theirs = _taps(self.teacher, inputs)
        ours = _taps(self, inputs)
        losses = self.decode_head.loss_by_feat(ours['logits'], data_samples)
        target = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        for name, loss in self.kd_losses.items():
            pairs = ((ours, loss.stages), (theirs, loss.teacher_stages))
            sides = ([taps[tap.partition('.')[0]] for tap in names] for taps, names in pairs)
            losses[name] = loss(*sides, target)
        return losses


def _taps(segmentor: EncoderDecoder, inputs: Tensor) -> dict[str, Tensor]:
    stages = segmentor.extract_feat(inputs)
    taps = {f'stage{i}': x for i, x in enumerate(stages, start=1)}
    return taps | dict(logits=segmentor.decode_head(stages))
