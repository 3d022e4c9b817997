"""Backbones, heads and segmentors, registered in mmseg's own registry."""

# ruff: noqa: F401  (the imports register the models)

from mmseg_kd.models.batch_preprocessor import BatchDataPreProcessor
from mmseg_kd.models.encoder_decoder import EncoderDecoder
from mmseg_kd.models.kd_encoder_decoder import KDCascadeEncoderDecoder, KDEncoderDecoder
from mmseg_kd.models.mit import MixTransformer
from mmseg_kd.models.segformer_head import SegFormerHead
from mmseg_kd.models.timm_backbone import TIMMBackbone

__all__ = [name for name, value in globals().items() if isinstance(value, type)]
