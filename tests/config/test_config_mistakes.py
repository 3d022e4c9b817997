"""A config's mistakes are found before anything runs, and named."""

from pathlib import Path

import mmseg
import pytest
from conftest import ROOT

from mmseg_kd.config import load_config, show_predictions
from mmseg_kd.errors import UserError

KD = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py')
B0 = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py')


def write(folder: Path, text: str, base: str = B0) -> str:
    config = folder / 'mine.py'
    config.write_text(f'_base_ = {base!r}\n{text}\n')
    return str(config)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'trian_dataloader = dict()',
            "line 2: unknown key 'trian_dataloader': did you mean 'train_",
        ),
        ('study = dict()', 'line 2: a study is run by `python tools/study.py run'),
        (
            'colour = 1',
            "unknown key 'colour': nothing reads it. If it is your own variable, rename it to '_co",
        ),
        (
            'data = dict(samples_per_gpu=4)',
            "'data' is a key of mmsegmentation 0.x; in 1.x write train",
        ),
        ('lr_config = dict(policy="poly")', r'write param_scheduler=\['),
        ('runner = dict(max_iters=1)', 'write train_cfg=dict'),
        ('evaluation = dict(interval=1)', r'write train_cfg.val_interval'),
        ('optimizer = dict(type="AdamW")', r'write optim_wrapper='),
        ('model = dict(pretraned=None)', "model.pretraned: did you mean 'pretrained'"),
        ('model = dict(backbone=dict(depth=18))', "model.backbone.depth: did you mean 'depths'"),
        ('model = dict(backbone=dict(width=18))', 'model.backbone.width: mit_b0 has no such key'),
        (
            'train_dataloader = dict(dataset=dict(num_images=18))',
            'dataset.num_images: CamVidDataset has no such key; it has ann_file',
        ),
        (
            'model = dict(decode_head=dict(dropout_rate=0.1))',
            "model.decode_head.dropout_rate: did you mean 'dropout_ratio'",
        ),
        (
            'train_dataloader = dict(dataset=dict(splt="val"))',
            "train_dataloader.dataset.splt: did you mean 'split'",
        ),
        ('train_dataloader = dict(num_worker=2)', "num_worker: did you mean 'num_workers'"),
        ('train_cfg = dict(max_iter=2)', "train_cfg.max_iter: did you mean 'max_iters'"),
        (
            'optim_wrapper = dict(paramwise_cfg=dict(custom_key={}))',
            "paramwise_cfg.custom_key: did you mean 'custom_keys'",
        ),
        (
            'default_hooks = dict(checkpoint=dict(save_bset="mIoU"))',
            "save_bset: did you mean 'save_best'",
        ),
        ('val_evaluator = dict(ignore_idx=255)', "ignore_idx: did you mean 'ignore_index'"),
        ('model = dict(test_cfg=dict(mode="slide"))', r'mode=.slide. needs stride='),
        ('model = dict(test_cfg=dict(mode="hole"))', "test_cfg.mode: 'hole' is not"),
        ('model = dict(teacher="foo.pth")', 'write teacher=dict'),
        (
            'crop_size = (128, 128)\ntrain_dataloader = dict(dataset=dict(pipeline=['
            'dict(type="RandomCrop", crop_size=(64, 64)), dict(type="PackSegInputs")]))',
            'line 2: crop_size is a variable of a base config, .*pipeline.N.crop_size=',
        ),
        ('data_root = "/my/CamVid"', 'line 2: data_root is a variable of a base config'),
        (
            'model = dict(data_preprocessor=dict(size=(128, 128)))\ntrain_dataloader = dict('
            'dataset=dict(pipeline=[dict(type="RandomCrop", crop_size=(512, 512))]))',
            r'pipeline.0.crop_size: \(512, 512\) exceeds model.data_preprocessor.size=\(128, 128\)',
        ),
        (
            'compile = dict(mode="reduce-overhead")',
            "compile.mode: 'reduce-overhead' lets blocks overwrite",
        ),
        ('compile = dict(backend="cudagraphs")', "compile.backend: 'cudagraphs' lets blocks"),
        ('compile = "yes"', "compile: 'yes' is not True, False"),
        ('train_cfg = dict(max_iters="ten")', "train_cfg.max_iters: 'ten' is not a whole number"),
        ('train_dataloader = dict(batch_size=1.5)', 'batch_size: 1.5 is not a whole number'),
        ('optim_wrapper = dict(optimizer=dict(lr="fast"))', "lr: 'fast' is not a number"),
        ('train_dataloader = dict(batch_size=0)', 'batch_size: 0 is not a whole number from 1 up'),
        (
            'val_dataloader = dict(num_workers=-1)',
            'num_workers: -1 is not a whole number from 0 up',
        ),
        (
            'train_cfg = dict(val_interval=0)',
            'train_cfg.val_interval: 0 is not a whole',
        ),
        ('optim_wrapper = dict(optimizer=dict(lr=-1e-4))', 'lr: -0.0001 is not a number from 0 up'),
        (
            'optim_wrapper = dict(optimizer=dict(lr=float("nan")))',
            'lr: nan is not a number',
        ),
        ('model = 5', 'model: 5 is not a dict'),
        ('train_dataloader = 5', 'train_dataloader: 5 is not a dict'),
        (
            'val_dataloader = dict(_delete_=True, batch_size=1)',
            r'val_dataloader: dataset is missing: write dataset=dict\(type=',
        ),
        (
            'test_dataloader = dict(dataset=dict(pipeline="Resize"))',
            "test_dataloader.dataset.pipeline: 'Resize' is not a list",
        ),
        (
            'train_dataloader = dict(dataset=dict(pipeline=(dict(type="PackSegInputs"), 5)))',
            'train_dataloader.dataset.pipeline.1: 5 is not a dict',
        ),
        ('model = dict(data_preprocessor=dict(size=64))', 'size: 64 is not a list'),
        ('val_evaluator = "IoU"', "val_evaluator: 'IoU' is not a dict or a list"),
        ('load_from = 5', 'load_from: 5 is not a string'),
        ('resume = "auto"', "resume: 'auto' is not True or False"),
        ('default_hooks = dict(logger=dict(interval=0))', 'interval: 0 is not a whole number'),
        *(
            (
                f'default_hooks = dict(checkpoint=dict({key}={value!r}))',
                f'{key}: {value!r} is not a',
            )
            for key, value in [
                ('interval', 0),
                ('interval', -5),
                ('max_keep_ckpts', 'x'),
                ('max_keep_ckpts', 0),
                ('save_begin', -1),
            ]
        ),
        *(
            (f'train_cfg = dict({key}={value!r})', f'train_cfg.{key}: .* is not')
            for key, value in [
                ('val_begin', -3),
                ('val_interval', -3),
            ]
        ),
        ('optim_wrapper = dict(accumulative_counts=-2)', 'accumulative_counts: -2 is not a whole'),
        ('x = = 1', 'line 2: invalid syntax'),
        ('x = 1 / 0', 'mine.py, line 2: ZeroDivisionError: division by zero$'),
        ('y = 1\nraise ValueError("not\\nnow")', 'mine.py, line 3: ValueError: not now$'),
        ('import sys\nsys.exit(0)', 'mine.py, line 3: a config must not end the program$'),
        ('x = nowhere', "mine.py, line 2: NameError: name 'nowhere' is not defined"),
        (
            'model = dict(test_cfg=dict(mode="slide", stride=(0, 0), crop_size=(64, 64)))',
            r'model.test_cfg: .* stride=\(H, W\) and crop_size=\(H, W\), in pixels from 1 up',
        ),
        (
            'model = dict(test_cfg=dict(mode="slide", stride=(96, 64), crop_size=(64, 64)))',
            r'test_cfg.stride: \(96, 64\) exceeds crop_size=\(64, 64\) and leaves gaps',
        ),
        ('optim_wrapper = dict(clip_grad=dict(max_norm="x"))', "clip_grad.max_norm: 'x' is not a"),
        ('optim_wrapper = dict(clip_grad=dict(max_norm=-1))', 'max_norm: -1 is not a number from'),
        ('model = dict(decode_head=dict(num_classes="12"))', "num_classes: '12' is not a whole"),
        ('model = dict(decode_head=dict(num_classes=-1))', 'num_classes: -1 is not a whole number'),
        ('randomness = dict(seed="x")', "randomness.seed: 'x' is not a whole number from 0 up"),
        ('randomness = dict(seed=1.5)', 'randomness.seed: 1.5 is not a whole number'),
        ('log_processor = dict(window_size=0)', 'window_size: 0 is not a whole number from 1 up'),
        (
            'optim_wrapper = dict(optimizer=dict(type="Foo"))',
            "optim_wrapper.optimizer.type: there is no optimizer 'Foo': write one of torch.optim",
        ),
        (
            'param_scheduler = [dict(type="PolyLR", eta_min="x", begin=0, end=9, by_epoch=False)]',
            "param_scheduler.0.eta_min: 'x' is not a number",
        ),
        (
            'param_scheduler = dict(_delete_=True, type="PolyLR", eta_min=-1, by_epoch=False)',
            'param_scheduler.eta_min: -1 is not a number from 0 up',
        ),
        ('param_scheduler = [1]', 'param_scheduler.0: 1 is not a dict'),
        (
            'model = dict(decode_head=dict(loss_decode=dict(loss_name="dice")))',
            "loss_decode.loss_name: 'dice' is not minimised; write 'loss_dice'",
        ),
        (
            'optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mlt=0.1))))',
            "custom_keys.head.lr_mlt: did you mean 'lr_mult'",
        ),
        ('optim_wrapper = dict(clip_grad=dict(max_nrm=1))', "max_nrm: did you mean 'max_norm'"),
        ('env_cfg = dict(cudnn_benchmrk=True)', "cudnn_benchmrk: did you mean 'cudnn_benchmark'"),
        (
            'val_evaluator = dict(_delete_=True, type="IoUMetric", iou_metric="mDice")',
            "val_evaluator.iou_metric: did you mean 'iou_metrics'",
        ),
        ('model = dict(backbone=dict(drop_path_rate=-1))', 'drop_path_rate: -1 is not a number fr'),
        (
            'model = dict(decode_head=dict(dropout_ratio=2))',
            'dropout_ratio: 2 is not a number from',
        ),
        (
            'train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=2)',
            "train_cfg: with train_dataloader.sampler.type='SeededInfiniteSampler' the first epoch",
        ),
        (
            'train_cfg = dict(_delete_=True, by_epoch=True, max_epochs=2)\n'
            'train_dataloader = dict(sampler=dict(type="InfiniteSampler"))',
            "train_dataloader.sampler.type='DefaultSampler'",
        ),
        (
            'model = dict(decode_head=dict(loss_decode=dict(class_weight=[1.0, 2.0])))',
            'model.decode_head.loss_decode.class_weight: 2 weights for 12 classes',
        ),
        (
            'model = dict(auxiliary_head=[dict(type="FCNHead", num_classes=3, loss_decode=[dict('
            'type="CrossEntropyLoss", class_weight=[1.0])])])',
            'model.auxiliary_head.0.loss_decode.class_weight: 1 weights for 3 classes',
        ),
        (
            'model = dict(decode_head=dict(loss_decode=dict(_delete_=True, type="FocalLoss")))',
            "loss_decode.type: mmseg's FocalLoss needs mmcv's compiled operators",
        ),
        (
            'model = dict(decode_head=dict(num_classes=2, out_channels=1, loss_decode=['
            'dict(type="CrossEntropyLoss", use_sigmoid=True), dict(type="DiceLoss")]))',
            'loss_decode.type: with out_channels=1 it learns the other class; write out_chan',
        ),
    ],
)
def test_mistakes_in_a_config(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_config(write(tmp_path, text))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.kd_losses.kl_loss.temprature', "temprature: did you mean 'temperature'"),
        ('model.teacher.checkpont', "model.teacher.checkpont: did you mean 'checkpoint'"),
        (
            'model.kd_losses.at_loss.type',
            "'Attention.*' is not registered: did you mean 'Attention",
        ),
    ],
)
def test_mistakes_in_cfg_options(option: str, message: str) -> None:
    value = 'AttentionTransfrLoss' if option.endswith('type') else 1
    with pytest.raises(UserError, match=message):
        load_config(KD, {option: value})


@pytest.mark.parametrize(
    'whole',
    [
        'optim_wrapper.optimizer.betas',
        'model.decode_head.in_index',
        'train_dataloader.dataset.pipeline.2.scale',
    ],
)
def test_one_value_of_a_list_on_the_command_line(whole: str) -> None:
    with pytest.raises(UserError, match=rf'{whole}.1: a list of values .*"{whole}=\[a,b\]"$'):
        load_config(B0, {f'{whole}.1': 1})
    assert load_config(B0, {'param_scheduler.0.begin': 1}).param_scheduler[0].begin == 1


def test_variables_come_too_late_on_the_command_line() -> None:
    with pytest.raises(UserError, match=r'write train_dataloader.dataset.data_root=PATH'):
        load_config(B0, {'data_root': '/my/CamVid'})
    with pytest.raises(UserError, match=r'imports: .* write it in a config of your own'):
        load_config(B0, {'custom_imports.imports': 'mine'})


FAMILIES = sorted((Path(mmseg.__file__).parent / '.mim' / 'configs').glob('[!_]*'))
# They need mmdet or mmpretrain, or have variables of mmsegmentation 0.x.
OTHERS = {'convnext', 'dsdl', 'knet', 'mae', 'mask2former', 'maskformer', 'mobilenet_v3'}
OTHERS |= {'poolformer', 'san', 'vpd'}


@pytest.mark.parametrize('family', FAMILIES, ids=lambda folder: folder.name)
def test_configs_of_mmsegmentation_have_no_mistakes(family: Path) -> None:
    if family.name in OTHERS:
        pytest.skip('needs another package, or variables of 0.x')
    file = sorted(family.glob('*.py'))[-1]
    cfg = load_config(str(file))
    assert cfg.model.type in ('EncoderDecoder', 'CascadeEncoderDecoder')


def test_the_stock_configs_are_installed() -> None:
    assert len(FAMILIES) > 40


def test_a_variable_of_a_base_config_is_no_key(tmp_path: Path) -> None:
    base = write(tmp_path, 'colour = 1\ntrian_cfg = 2')
    child = tmp_path / 'child.py'
    child.write_text(f'_base_ = {base!r}\n')
    # It is close to a key, so it may be a mistake.
    with pytest.raises(UserError, match="unknown key 'trian_cfg'"):
        load_config(str(child))
    write(tmp_path, 'colour = 1')
    assert load_config(str(child)).colour == 1
    with pytest.raises(UserError, match="unknown key 'taste'"):
        load_config(str(child), {'taste': 1})


def test_heads_of_other_class_counts(tmp_path: Path) -> None:
    head = "auxiliary_head=[dict(type='STDCHead', num_classes=2, channels=8, in_channels=32)]"
    load_config(write(tmp_path, f'model = dict({head})'))
    one = 'num_classes=2, out_channels=1, loss_decode=dict(use_sigmoid=True, class_weight=[3.0])'
    load_config(write(tmp_path, f'model = dict(decode_head=dict({one}))'))


def test_private_variables_are_allowed(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, '_mine = 3'))._mine == 3


def test_keys_beside_several_teachers(tmp_path: Path) -> None:
    kd = 'local_configs/toy/segformer.b0.toy.kd.py'
    options = {'model.teacher.a.config': 'x.py', 'model.teacher.a.checkpoint': 'x.pth'}
    with pytest.raises(UserError, match='several teachers are a dict of teachers by name'):
        load_config(kd, options)


def test_a_dict_takes_the_place_of_a_number(tmp_path: Path) -> None:
    kd = 'local_configs/toy/segformer.b0.toy.kd.py'
    key = 'model.kd_losses.at_loss.loss_weight'
    cfg = load_config(kd, {f'{key}.type': 'GradientShare', f'{key}.share': 0.1})
    assert cfg.model.kd_losses.at_loss.loss_weight == dict(type='GradientShare', share=0.1)
    child = tmp_path / 'child.py'
    base = (Path(__file__).parents[2] / kd).as_posix()
    text = (
        "_base_ = {!r}\nmodel = dict(kd_losses=dict(at_loss=dict(loss_weight=dict({}type='Stop'))))"
    )
    child.write_text(text.format(base, ''))
    with pytest.raises(UserError, match=r'loss_weight=dict\(_delete_=True, ...\)'):
        load_config(str(child))
    child.write_text(text.format(base, '_delete_=True, value=1.0, at_iter=9, '))
    assert load_config(str(child)).model.kd_losses.at_loss.loss_weight.type == 'Stop'


def test_an_override_of_a_pipeline_that_the_config_defines(tmp_path: Path) -> None:
    pipeline = load_config(B0).train_dataloader.dataset.pipeline
    text = f'train_pipeline = {pipeline!r}\n'
    text += 'train_dataloader = dict(dataset=dict(pipeline=train_pipeline))'
    cfg = load_config(
        write(tmp_path, text), {'train_dataloader.dataset.pipeline.2.keep_ratio': False}
    )
    assert cfg.train_dataloader.dataset.pipeline[2].keep_ratio is False


@pytest.mark.parametrize('key', ['visualizer', 'default_hooks.visualization'])
def test_pictures_need_what_paints_them(tmp_path: Path, key: str) -> None:
    cfg = load_config(B0, {key: None})
    with pytest.raises(UserError, match=rf'^--show and --show-dir need {key}=dict\(type='):
        show_predictions(cfg, window=False, folder=str(tmp_path / 'new'), wait_time=0)
