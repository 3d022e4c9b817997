"""From the logits of whole images to their class ids."""

import inspect
from typing import Any

from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder as MMSegEncoderDecoder
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_kd.models.upsampled_cross_entropy import without_waiting
from mmseg_kd.registry import MODELS


# Configs of earlier versions name it so, and are of the scope mmseg.
@MMSEG_MODELS.register_module(name='WholeImageEncoderDecoder')
@MODELS.register_module()
class EncoderDecoder(MMSegEncoderDecoder):
    """mmseg's `EncoderDecoder`, with the same results in less time at testing.

    The class ids of a batch are computed at once where no resizing, flip or padding has to be
    undone. mmseg resizes the logits of each image to its own size, also where they have it, and
    takes an argmax that is slow over the first axis of a tensor on the CPU.

    The losses of heads that use mmseg's cross-entropy are computed without waiting for a GPU
    (`mmseg_kd.models.upsampled_cross_entropy`).
    """

    def __init__(self, backbone: dict, pretrained: str | None = None, **kwargs: Any) -> None:
        if pretrained is not None:
            # A type that is not registered is reported where it is built.
            kind = MODELS.get(backbone['type'])
            arguments = inspect.signature(kind).parameters if kind else ()
            if 'init_cfg' in arguments and 'pretrained' not in arguments:
                init_cfg = dict(type='Pretrained', checkpoint=pretrained)
                backbone, pretrained = {**backbone, 'init_cfg': init_cfg}, None
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
            The samples, or new ones where there were none.
        """
        size = tuple(seg_logits.shape[2:])
        whole = data_samples and all(_as_it_is(sample, size) for sample in data_samples)
        if seg_logits.shape[1] == 1 or not whole:
            return super().postprocess_result(seg_logits, data_samples)
        for sample, logits, ids in zip(
            data_samples, seg_logits, class_ids(seg_logits), strict=True
        ):
            sample.set_data(
                {'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=ids[None])}
            )
        return data_samples


def class_ids(logits: Tensor) -> Tensor:
    """The first of the greatest logits (N, K, H, W) of every pixel, as ids (N, H, W)."""
    if logits.is_cuda:
        # Where two are equal, max does not promise the first there.
        return logits.argmax(dim=1)
    return logits.max(dim=1).indices


def _as_it_is(sample: SegDataSample, size: tuple[int, int]) -> bool:
    meta = sample.metainfo
    padding = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
    return tuple(meta['ori_shape']) == size and not meta.get('flip') and not any(padding)
