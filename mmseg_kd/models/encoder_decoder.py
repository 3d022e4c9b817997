"""mmseg's `EncoderDecoder`, with faster class ids and losses."""

import inspect
from typing import Any

from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder as MMSegEncoderDecoder
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_kd.models.upsampled_cross_entropy import without_waiting
from mmseg_kd.registry import MODELS


# The name in configs of earlier versions, whose scope is mmseg.
@MMSEG_MODELS.register_module(name='WholeImageEncoderDecoder')
@MODELS.register_module()
class EncoderDecoder(MMSegEncoderDecoder):
    """mmseg's `EncoderDecoder`, faster and with the same results.

    In testing it computes the class ids of the whole batch at once, unless a resizing, flip or
    padding has to be undone. mmseg resizes the logits of each image even to the size that they
    have, and its argmax over the first axis is slow on the CPU.

    Heads with mmseg's cross-entropy compute their losses without waiting for a GPU
    (`mmseg_kd.models.upsampled_cross_entropy`).

    `pretrained` is a file for any backbone, also for one with `pretrained=False`.
    """

    def __init__(self, backbone: dict, pretrained: str | None = None, **kwargs: Any) -> None:
        if pretrained is not None:
            # An unknown type is reported when it is built.
            kind = MODELS.get(backbone['type'])
            arguments = inspect.signature(kind).parameters if kind else ()
            if 'init_cfg' in arguments and 'pretrained' not in arguments:
                init_cfg = dict(type='Pretrained', checkpoint=pretrained)
                backbone, pretrained = {**backbone, 'init_cfg': init_cfg}, None
            elif backbone.get('pretrained') is False:
                backbone = backbone | dict(pretrained=None)
        super().__init__(backbone=backbone, pretrained=pretrained, **kwargs)
        without_waiting(self)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Add `seg_logits` and `pred_sem_seg` to every sample.

        Args:
            seg_logits: Logits (N, K, H, W).
            data_samples: The samples, with their `metainfo`.

        Returns:
            The samples; new ones if none were given.
        """
        size = tuple(seg_logits.shape[2:])
        whole = data_samples and all(_as_it_is(sample, size) for sample in data_samples)
        if seg_logits.shape[1] == 1 or not whole:
            return super().postprocess_result(seg_logits, data_samples)
        predicted = zip(data_samples, seg_logits, class_ids(seg_logits), strict=True)
        for sample, logits, ids in predicted:
            sample.seg_logits = PixelData(data=logits)
            sample.pred_sem_seg = PixelData(data=ids[None])
        return data_samples


def class_ids(logits: Tensor) -> Tensor:
    """Return the class with the greatest logit (N, K, H, W) of every pixel, as ids (N, H, W).

    Of equal logits the first class is taken.
    """
    # On a GPU max may return any of several equal logits.
    return logits.argmax(dim=1) if logits.is_cuda else logits.max(dim=1).indices


def _as_it_is(sample: SegDataSample, size: tuple[int, int]) -> bool:
    meta = sample.metainfo
    padding = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
    return tuple(meta['ori_shape']) == size and not meta.get('flip') and not any(padding)
