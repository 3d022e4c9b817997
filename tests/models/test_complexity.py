"""MACs and parameters, against the published figures and a count by hand."""

import pytest
import torch
from conftest import ROOT, tiny_model
from engine.test_trial import unet
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd.checkpoints.initialization import forget_pretrained
from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError
from mmseg_kd.models.complexity import measure_complexity, published_fusion

SEGFORMER = 'local_configs/segformer/{0}/segformer.{1}.512x512.camvid.py'


def segformer(name: str, num_classes: int) -> nn.Module:
    cfg = load_config(str(ROOT / SEGFORMER.format(name, name.lower())))
    forget_pretrained(cfg.model)
    cfg.model.decode_head.num_classes = num_classes
    return MODELS.build(cfg.model)


@pytest.mark.parametrize(('name', 'gmacs', 'millions'), [('B0', 8.4, 3.8), ('B2', 62.4, 27.5)])
def test_as_published(name: str, gmacs: float, millions: float) -> None:
    # Xie et al., NeurIPS 2021, table 1: ADE20K has 150 classes.
    found = measure_complexity(segformer(name, 150), (512, 512))
    assert found[-1].macs / 1e9 == pytest.approx(gmacs, abs=0.1)
    assert found[-1].parameters / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_head_by_hand() -> None:
    found = measure_complexity(MODELS.build(tiny_model()), (64, 64))
    head = next(part for part in found if part.name == 'decode_head')
    widths, width, classes = (8, 16, 16, 32), 16, 12
    pixels = [(64 // stride) ** 2 for stride in (4, 8, 16, 32)]
    levels = sum(c * n * width for c, n in zip(widths, pixels, strict=True))
    assert head.macs == levels + pixels[0] * width * (4 * width + classes)


def test_the_published_formula_is_the_folded_ones() -> None:
    torch.manual_seed(0)
    head = MODELS.build(tiny_model()).decode_head.eval()
    levels = [getattr(head, f'linear_c{i}') for i in range(1, 5)]
    features = [
        torch.randn(2, c, 64 // s, 96 // s)
        for c, s in zip((8, 16, 16, 32), (4, 8, 16, 32), strict=True)
    ]
    fuse = head.linear_fuse
    torch.testing.assert_close(
        published_fusion(fuse, features, levels), fuse(features, levels), atol=1e-5, rtol=1e-4
    )


def test_an_auxiliary_head_is_not_in_the_total() -> None:
    plain = measure_complexity(MODELS.build(tiny_model()), (64, 64))
    auxiliary = dict(
        type='FCNHead', in_channels=32, in_index=3, channels=8, num_convs=1, num_classes=12,
        loss_decode=dict(type='CrossEntropyLoss'),
    )  # fmt: skip
    model = MODELS.build(tiny_model(auxiliary_head=auxiliary))
    found = measure_complexity(model, (64, 64))
    assert found[-1] == plain[-1]
    (extra,) = [part for part in found if part.training_only]
    assert extra.name == 'auxiliary_head'
    assert extra.parameters > 0
    # The model is as it was.
    assert next(model.parameters()).device.type == 'cpu'
    assert (
        model.decode_head.linear_fuse.forward.__func__
        is type(model.decode_head.linear_fuse).forward
    )


def test_too_small_an_image_is_named() -> None:
    with pytest.raises(UserError, match=r'at least 32 pixels a side, not 16x16'):
        measure_complexity(MODELS.build(tiny_model()), (16, 16))


def test_a_model_that_cannot_take_the_size_is_named() -> None:
    message = r'model.backbone fails on an image of 24x32 pixels without data: .* divisible'
    with pytest.raises(UserError, match=message):
        measure_complexity(MODELS.build(unet()), (24, 32))
