"""What cannot be trained is named before training starts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_config, tiny_model
from mmcv.transforms import BaseTransform
from mmseg.registry import MODELS, TRANSFORMS
from torch import nn

from mmseg_kd.engine import build_runner
from mmseg_kd.engine.starting import try_run
from mmseg_kd.errors import UserError


def student(**settings: Any) -> dict:
    """A student whose teacher is not read before its losses are built."""
    loss = dict(type='AttentionTransferLoss', **settings)
    teacher = dict(config='teacher.py', checkpoint='teacher.pth')
    return tiny_model(
        type='KDEncoderDecoder', teacher=teacher, kd_losses=dict(at_loss=loss), _delete_=True
    )


STEP = 'train_dataloader__dataset__pipeline__1__'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'model__decode_head__in_channels': [8, 16, 16, 64]},
            r'model.decode_head fails on a training crop of 64x64 pixels: .* '
            r'the maps for in_index and in_channels of a head have \[8, 16, 16, 32\] channels$',
        ),
        (
            {'model__decode_head__in_index': [0, 1, 2, 7]},
            'model.decode_head fails .* tuple index out of range',
        ),
        (
            {f'{STEP}crop_size': (2, 2), 'model__data_preprocessor__size': (2, 2)},
            'MixTransformer needs images of at least 32 pixels a side, not 2x2',
        ),
        ({f'{STEP}scale': (0, 0)}, r'pipeline.1: SegAugment: scale=\(0, 0\) is not two whole'),
        ({f'{STEP}scale': 128}, 'pipeline.1: SegAugment: scale=128 is not two whole numbers'),
        ({f'{STEP}ratio_range': (0, 0)}, r'ratio_range=\(0, 0\) is not \(least, greatest\), above'),
        ({f'{STEP}ratio_range': (2, 0.5)}, r'ratio_range=\(2, 0.5\) is not \(least, greatest\)'),
        ({f'{STEP}crop_size': 64}, 'crop_size=64 is not two whole numbers from 1 up'),
        (
            {'custom_hooks': [dict(type='Nonsense')]},
            'cannot be built: custom_hooks.0: Nonsense is not in the',
        ),
        (
            {'default_hooks__timer__type': 'Nonsense'},
            'cannot be built: default_hooks.timer: Nonsense is not in the',
        ),
        (
            {'model__backbone__type': 'Nonsense'},
            'cannot be built: model.backbone: Nonsense is not in the',
        ),
        (
            {'model': student(stages=5)},
            'model.kd_losses.at_loss: AttentionTransferLoss: stages=5 is not a tap or a list of',
        ),
        ({'model': student(stages=[3, 4])}, r'at_loss: .* stages=\[3, 4\] is not a tap or a list'),
        (
            {'visualizer__vis_backends': [dict(type='WandbVisBackend')]},
            'cannot be built: .*pip install wandb',
        ),
    ],
)
def test_one_line_before_training(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_runner(tiny_config(tmp_path, **options)).train()
    assert '\n' not in str(error.value)
    assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_pipeline_that_packs_nothing(tmp_path: Path, split: str) -> None:
    cfg = tiny_config(tmp_path)
    del cfg[f'{split}_dataloader'].dataset.pipeline[-1]
    message = f'{split}_dataloader.dataset.pipeline: the last step gives no .*PackSegInputs'
    with pytest.raises(UserError, match=message):
        build_runner(cfg).train()


def test_a_training_pipeline_without_labels(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    pipeline = cfg.train_dataloader.dataset.pipeline
    pipeline[:] = [step for step in pipeline if step.type != 'SegAugment']
    pipeline.insert(1, dict(type='RemoveLabels'))
    TRANSFORMS.register_module('RemoveLabels', module=RemoveLabels)
    try:
        with pytest.raises(UserError, match=r'pipeline: it loads no labels: add .*LoadAnnotations'):
            build_runner(cfg).train()
    finally:
        TRANSFORMS.module_dict.pop('RemoveLabels')


class RemoveLabels(BaseTransform):
    """What a pipeline without `LoadAnnotations` comes to."""

    def transform(self, results: dict) -> dict:
        return {key: value for key, value in results.items() if key != 'gt_seg_map'}


def test_a_step_that_fails_is_named(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    resize = dict(type='RandomResize', scale=(0, 0), ratio_range=(0.5, 2.0), keep_ratio=False)
    cfg.val_dataloader.dataset.pipeline.insert(1, resize)
    message = r'val_dataloader.dataset.pipeline.1 \(RandomResize\) fails on the first image'
    with pytest.raises(UserError, match=message):
        build_runner(cfg).train()


def test_the_trial_leaves_everything_as_it_was(tmp_path: Path) -> None:
    drawn = []

    def draw(*args: Any) -> None:
        drawn.append(torch.rand(1))

    cfg = tiny_config(tmp_path)
    runner = build_runner(cfg)
    runner._train_loop = runner.build_train_loop(cfg.train_cfg)
    model = runner.bare_model.train()
    # Some heads draw random numbers in testing, too.
    model.backbone.register_forward_hook(draw)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    streams = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    try_run(runner)
    assert drawn
    assert (np.random.get_state()[1] == streams[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), streams[1])
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_what_is_no_encoder_decoder_is_not_tried() -> None:
    sample = dict(inputs=torch.zeros(3, 64, 64), data_samples=None)
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=[sample]))
    try_run(SimpleNamespace(loops=dict(train=loop, val=loop), bare_model=nn.Identity()))


def unet(**preprocessor: Any) -> dict:
    """A model that takes sizes which 16 divides: the crop of 64x64, but no image of 120x160."""
    model = tiny_model(
        backbone=dict(
            type='UNet', in_channels=3, base_channels=4, num_stages=5, strides=(1,) * 5,
            enc_num_convs=(1,) * 5, dec_num_convs=(1,) * 4, downsamples=(True,) * 4,
            enc_dilations=(1,) * 5, dec_dilations=(1,) * 4,
        ),
        decode_head=dict(
            type='FCNHead', in_channels=4, in_index=4, channels=4, num_convs=1, num_classes=12,
            norm_cfg=dict(type='BN'), concat_input=False,
        ),
    )  # fmt: skip
    model['data_preprocessor'] |= preprocessor
    return model


def test_an_image_of_an_evaluation_is_tried(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    cfg.model = unet()
    message = (
        r'model.backbone fails on an evaluated image of 120x160 pixels: .* should be divisible .*; '
        r'if it needs other sizes: model.data_preprocessor.test_cfg.size_divisor=32 in its config'
    )
    with pytest.raises(UserError, match=message):
        build_runner(cfg).train()
    tested = cfg.copy()
    tested.train_cfg = tested.train_dataloader = tested.optim_wrapper = None
    tested.val_cfg = tested.val_dataloader = tested.val_evaluator = None
    tested.param_scheduler = None
    with pytest.raises(UserError, match=message):
        build_runner(tested).test()


def test_an_image_of_an_evaluation_is_padded(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    cfg.model = unet(test_cfg=dict(size_divisor=32))
    cfg.train_cfg.max_iters = cfg.train_cfg.val_interval = 1
    build_runner(cfg).train()


class Positions(nn.Module):
    """A backbone whose first parameter is not its stem."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 7, 7, 8))
        self.stem = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.stem(x),)


@pytest.fixture
def distilled(teacher: dict) -> dict:
    """A student that learns logits from a tiny teacher."""
    kl = dict(type='KLDivergenceLoss')
    return tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=dict(kl_loss=kl))


def test_a_student_is_tried_with_the_channels_of_its_images(
    tmp_path: Path, distilled: dict
) -> None:
    head = dict(in_channels=[8], in_index=[0])
    MODELS.register_module('Positions', module=Positions)
    try:
        distilled |= dict(backbone=dict(type='Positions'))
        distilled['decode_head'] |= head
        MODELS.build(distilled).build_teacher()
    finally:
        MODELS.module_dict.pop('Positions')


def test_a_teacher_that_cannot_take_the_crop_is_named(tmp_path: Path, distilled: dict) -> None:
    torch.save({'state_dict': MODELS.build(unet()).state_dict()}, tmp_path / 'unet.pth')
    distilled['teacher'] = dict(config=unet(), checkpoint=str(tmp_path / 'unet.pth'))
    distilled['data_preprocessor'] |= dict(size=(72, 72))
    cfg = tiny_config(tmp_path / 'run')
    cfg.model = distilled
    with pytest.raises(
        UserError, match=r'^teacher: model.backbone fails on images of 72x72 pixels'
    ):
        build_runner(cfg).train()
    # It takes the crop, but no image of the validation split, on which it is measured.
    distilled['data_preprocessor'] |= dict(size=(64, 64))
    cfg = tiny_config(tmp_path / 'run')
    cfg.model = distilled
    with pytest.raises(UserError, match=r'^teacher: model.backbone fails on an evaluated image'):
        build_runner(cfg).train()
