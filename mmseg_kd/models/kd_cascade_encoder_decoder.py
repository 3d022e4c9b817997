"""The student whose decoder is a cascade of heads, as OCRNet's is."""

from __future__ import annotations

from mmseg.models import CascadeEncoderDecoder
from mmseg.registry import MODELS

from mmseg_kd.models.kd_encoder_decoder import KDEncoderDecoder


@MODELS.register_module()
class KDCascadeEncoderDecoder(KDEncoderDecoder, CascadeEncoderDecoder):
    """mmseg's `CascadeEncoderDecoder` with the keys `teacher` and `kd_losses`.

    The tap `logits` is what the last head predicts with.
    """
