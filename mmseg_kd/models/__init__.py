"""Backbones, heads and segmentors, registered in mmseg's own registry."""

from mmseg_kd.models.batch_preprocessor import BatchDataPreProcessor
from mmseg_kd.models.kd_encoder_decoder import KDEncoderDecoder
from mmseg_kd.models.mit import MixTransformer
from mmseg_kd.models.segformer_head import SegFormerHead
from mmseg_kd.models.whole_image import WholeImageEncoderDecoder

__all__ = [
    'BatchDataPreProcessor',
    'KDEncoderDecoder',
    'MixTransformer',
    'SegFormerHead',
    'WholeImageEncoderDecoder',
]
