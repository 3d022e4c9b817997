"""The tap `logits` is what prediction uses, for every head that mmseg has."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import mmseg.models.decode_heads
import pytest
import torch
from conftest import ROOT, tiny_model
from heads import BN, CE, CLASSES, HEADS, LAST, OTHERS, REFUSED, SIZE
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.taps import LOGITS_INDEX, list_taps, record_taps
from mmseg_kd.errors import UserError


def head_cfg(kind: str, settings: dict) -> dict:
    common = dict(num_classes=CLASSES, norm_cfg=BN, loss_decode=CE)
    if kind == 'IterativeDecodeHead':
        # These settings belong to the heads inside it.
        common = {}
    return dict(type=kind, **(common | settings))


@pytest.fixture(scope='module')
def tutor(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A teacher of five classes."""
    cfg = tiny_model()
    cfg['decode_head']['num_classes'] = CLASSES
    file = tmp_path_factory.mktemp('tutor') / 'teacher.pth'
    torch.save({'state_dict': MODELS.build(cfg).state_dict()}, file)
    return dict(config=cfg, checkpoint=str(file))


def student_cfg(kind: str, settings: dict, teacher: dict) -> dict:
    settings = dict(settings)
    cfg = tiny_model(type='KDEncoderDecoder', teacher=teacher)
    cfg['kd_losses'] = dict(kl_loss=dict(type='KLDivergenceLoss'))
    cfg['backbone'] = settings.pop('backbone', cfg['backbone'])
    cfg['decode_head'] = head_cfg(kind, settings)
    if kind == 'LRASPPHead':
        cfg['data_preprocessor']['size'] = (200, 200)
    if kind == 'OCRHead':
        cfg |= dict(type='KDCascadeEncoderDecoder', num_stages=2)
        cfg['decode_head'] = [head_cfg('FCNHead', LAST), cfg['decode_head']]
    if cfg['backbone']['type'] == 'MixTransformer':
        cfg['auxiliary_head'] = head_cfg('FCNHead', dict(LAST, in_channels=16, in_index=2))
    return cfg


def batch(size: tuple[int, int] = (SIZE, SIZE)) -> tuple[torch.Tensor, list[SegDataSample]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *size, generator=generator)
    samples = []
    for labels in torch.randint(CLASSES, (2, 1, *size), generator=generator):
        sample = SegDataSample(metainfo=dict(img_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=labels)
        sample.gt_edge_map = PixelData(data=(labels == 0).long())
        samples.append(sample)
    return images, samples


def reached(model: torch.nn.Module, value: torch.Tensor) -> set[str]:
    """Names of the parameters that a gradient of `value` reaches."""
    model.zero_grad()
    value.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('kind', HEADS)
def test_a_logits_loss_teaches_what_predicts_and_nothing_else(kind: str, tutor: dict) -> None:
    model = MODELS.build(student_cfg(kind, HEADS[kind], tutor))
    images, samples = batch(model.data_preprocessor.size)
    model.eval()
    predicted = model.encode_decode(images, [sample.metainfo for sample in samples])
    predicting = reached(model, predicted.square().sum())
    model.train()
    model.kd_losses.request_gradients()
    losses = model.loss(images, samples)
    labels, stats = model.kd_losses.take_gradients()
    assert labels.logits > 0 and stats['kl_loss'].logits > 0 and stats['kl_loss'].features > 0
    assert reached(model, losses['kl_loss']) == predicting
    # Most layers of the head have a gradient that is not 0.
    head = [name for name in predicting if name.startswith('decode_head')]
    moved = [name for name in head if model.get_parameter(name).grad.abs().sum() > 0]
    assert moved and len(moved) > len(head) / 2
    if kind not in ('FCNHead', 'SegFormerHead'):
        return
    # The labels reach more: the auxiliary head is trained, by its own loss.
    own = sum(value for name, value in model.loss(images, samples).items() if 'loss_ce' in name)
    assert {name.split('.')[0] for name in reached(model, own) - predicting} == {'auxiliary_head'}


@pytest.mark.parametrize('kind', LOGITS_INDEX)
def test_list_taps_shows_what_predicts(kind: str, tutor: dict) -> None:
    model = MODELS.build(student_cfg(kind, HEADS[kind], tutor)).eval()
    images, _ = batch()
    shape = list_taps(model, images)['logits']
    assert shape[:2] == (2, CLASSES)


@pytest.mark.parametrize('kind', ['DDRHead', 'PIDHead'])
def test_stages_are_those_of_testing_in_training_too(kind: str, tutor: dict) -> None:
    model = MODELS.build(student_cfg(kind, HEADS[kind], tutor))
    for mode in (model.eval, model.train):
        mode()
        with record_taps(model, ['stage1', 'logits']) as taps:
            model(batch()[0], mode='tensor')
        # The map that the head reads.
        assert taps['stage1'].shape == (2, 32, SIZE // 8, SIZE // 8)
        assert taps['logits'].shape == (2, CLASSES, SIZE // 8, SIZE // 8)


@pytest.mark.parametrize('kind', REFUSED)
def test_heads_without_logits_or_operators_are_refused_in_a_line(kind: str, tutor: dict) -> None:
    if find_spec('mmcv._ext') or find_spec('mmdet'):
        pytest.skip('compiled operators or mmdet are installed')
    settings, message = REFUSED[kind]
    with pytest.raises(UserError, match=re.escape(message)) as error, config_errors():
        MODELS.build(student_cfg(kind, settings, tutor))
    assert '\n' not in str(error.value)


def test_every_head_of_mmseg_is_tried_and_documented() -> None:
    registered = set(mmseg.models.decode_heads.__all__)
    assert registered == set(HEADS) - {'SegFormerHead'} | set(REFUSED) | OTHERS
    page = Path(ROOT, 'docs', 'losses.md').read_text(encoding='utf-8')
    for kind in registered:
        assert f'`{kind}`' in page, kind


class PairHead(BaseDecodeHead):
    """A user's head with two outputs."""

    def forward(self, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.cls_seg(self._transform_inputs(inputs))
        return logits.detach(), logits

    def loss_by_feat(self, seg_logits: tuple, *args: object) -> dict:
        return super().loss_by_feat(seg_logits[1], *args)


def test_a_head_of_ones_own_says_which_output_it_predicts_with(tutor: dict) -> None:
    cfg = student_cfg('FCNHead', dict(LAST, channels=32), tutor)
    cfg['decode_head']['type'] = PairHead
    with pytest.raises(UserError, match=r'set the class attribute PairHead\.logits_index'):
        MODELS.build(cfg).build_teacher()
    cfg['decode_head']['type'] = type('Second', (PairHead,), dict(logits_index=1))
    model = MODELS.build(cfg)
    assert 'decode_head.conv_seg.weight' in reached(model, model.loss(*batch())['kl_loss'])


def test_the_trial_of_the_losses_leaves_no_trace(tutor: dict) -> None:
    # In training mode, with dropout, batch statistics and EMAHead's bases.
    cfg = student_cfg('EMAHead', HEADS['EMAHead'] | dict(dropout_ratio=0.5), tutor)
    model = MODELS.build(cfg)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    model.train().build_teacher()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
