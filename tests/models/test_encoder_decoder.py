"""Class ids of whole images equal mmseg's."""

import pytest
import torch
from conftest import tiny_model
from mmseg.models import EncoderDecoder as MMSegEncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_kd.models.encoder_decoder import EncoderDecoder, class_ids


def segmentor(**changes: object) -> MMSegEncoderDecoder:
    return MODELS.build(tiny_model(type=MMSegEncoderDecoder) | changes).eval()


@pytest.mark.parametrize(
    ('meta', 'whole'),
    [
        (dict(ori_shape=(30, 40)), True),
        (dict(ori_shape=(30, 40), img_padding_size=[0, 0, 0, 0], flip=False), True),
        (dict(ori_shape=(60, 80)), False),
        (dict(ori_shape=(30, 40), padding_size=[0, 4, 0, 2]), False),
        (dict(ori_shape=(30, 40), flip=True, flip_direction='horizontal'), False),
    ],
)
def test_the_same_as_mmseg(meta: dict, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = segmentor()
    logits = torch.randn(3, 12, 30, 40)
    logits[:, 3] = logits[:, 7]
    logits[0, :, 0] = 0
    logits[1, 5, 3, 3] = float('nan')
    stock = model.postprocess_result(logits, [SegDataSample(metainfo=meta) for _ in range(3)])
    model.__class__ = EncoderDecoder
    if whole:
        # Not mmseg's code, which would be compared with itself.
        monkeypatch.setattr(MMSegEncoderDecoder, 'postprocess_result', None)
    quick = model.postprocess_result(logits, [SegDataSample(metainfo=meta) for _ in range(3)])
    for a, b in zip(stock, quick, strict=True):
        assert a.pred_sem_seg.data.dtype == b.pred_sem_seg.data.dtype
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
        torch.testing.assert_close(
            a.seg_logits.data, b.seg_logits.data, rtol=0, atol=0, equal_nan=True
        )


def test_without_samples() -> None:
    model = segmentor()
    model.__class__ = EncoderDecoder
    assert len(model.postprocess_result(torch.randn(2, 12, 8, 8))) == 2


def test_one_channel_has_a_threshold() -> None:
    head = tiny_model()['decode_head'] | dict(num_classes=2, out_channels=1, threshold=0.5)
    model = segmentor(decode_head=head)
    model.__class__ = EncoderDecoder
    (sample,) = model.postprocess_result(
        torch.tensor([[[[-1.0, 1.0]]]]), [SegDataSample(metainfo=dict(ori_shape=(1, 2)))]
    )
    assert sample.pred_sem_seg.data.flatten().tolist() == [0, 1]


def test_the_first_of_equal_logits_wins() -> None:
    assert class_ids(torch.zeros(1, 5, 2, 2)).unique().tolist() == [0]
