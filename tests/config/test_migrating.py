"""Configs of mmsegmentation 0.x and NVlabs/SegFormer, and what their rules say."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from configs_of_0x import FCN, MEAN, NVLABS, NVLABS_DATA, STD, TOOL, migrated
from conftest import run
from mmengine.config import Config
from mmengine.dataset import Compose
from mmseg.registry import MODELS
from PIL import Image

from mmseg_kd.config import load_config
from mmseg_kd.config.migrating_data import loaders


def test_a_config_of_nvlabs(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    new = migrated(tmp_path, data=NVLABS_DATA, old=NVLABS)
    printed = capfd.readouterr().out
    head = [line[2:] for line in new.read_text(encoding='utf-8').splitlines() if line[:1] == '#']
    assert head == printed.splitlines()[:-1]
    assert [line.partition(':')[0] for line in head[2:]] == [
        '- data', '- AlignResize',
    ]  # fmt: skip
    cfg = load_config(str(new))
    head = cfg.model.decode_head
    assert (cfg.model.backbone, head.embed_dim) == (dict(type='mit_b0'), 192)
    assert 'channels' not in head and 'feature_strides' not in head
    assert head.norm_cfg == dict(type='SyncBN', requires_grad=True)
    assert cfg.model.pretrained == 'pretrained/mit_b0.pth'
    train, val = cfg.train_dataloader, cfg.val_dataloader
    assert (train.batch_size, train.num_workers, val.batch_size) == (2, 3, 1)
    assert (train.dataset.split, val.dataset.split) == ('train', 'val')
    assert train.sampler == dict(type='SeededInfiniteSampler', shuffle=True)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (400, 80)
    hooks = cfg.default_hooks
    assert (hooks.checkpoint.interval, hooks.logger.interval) == (40, 20)
    assert cfg.find_unused_parameters and not cfg.env_cfg.cudnn_benchmark
    assert [step.type for step in val.dataset.pipeline] == [
        'LoadImageFromFile', 'Resize', 'ResizeToMultiple', 'LoadAnnotations', 'PackSegInputs',
    ]  # fmt: skip


@pytest.mark.parametrize('folder', ['val', 'images/val/', r'C:\CamVid\val', None])
def test_camvid_is_tested_on_the_split_of_its_folder(folder: str | None) -> None:
    test = dict(type='CamVidDataset', img_dir=folder, pipeline=[dict(type='LoadImageFromFile')])
    found = loaders(dict(samples_per_gpu=1, test=test), [])
    assert found['test_dataloader']['dataset']['split'] == ('val' if folder else 'test')


def picture(folder: Path, size: tuple[int, int] = (160, 120), labels: int = 4) -> dict:
    """Write an image and its labels; what a pipeline takes."""
    generator = np.random.default_rng(0)
    for name, shape, high in (('img', (*size[::-1], 3), 256), ('ann', size[::-1], labels)):
        (folder / name).mkdir(exist_ok=True)
        pixels = generator.integers(0, high, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name / 'a.png')
    return dict(
        img_path=str(folder / 'img' / 'a.png'),
        seg_map_path=str(folder / 'ann' / 'a.png'),
        reduce_zero_label=False,
        seg_fields=[],
    )


def test_the_augmentation_is_that_of_0x(tmp_path: Path) -> None:
    cfg = load_config(str(migrated(tmp_path, data=NVLABS_DATA, old=NVLABS)))
    steps = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in steps] == [
        'LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop', 'RandomFlip',
        'PhotoMetricDistortion', 'PackSegInputs',
    ]  # fmt: skip
    assert (steps[3].crop_size, steps[3].cat_max_ratio, steps[4].prob) == ((512, 512), 0.75, 0.5)
    loaded = picture(tmp_path)
    resize = Compose(steps[:3])
    for seed in range(20):
        np.random.seed(seed)  # noqa: NPY002
        height, width = resize(copy.deepcopy(loaded))['img'].shape[:2]
        # Resize.random_sample_ratio of 0.x, then the largest size of the image's own ratio.
        np.random.seed(seed)  # noqa: NPY002
        ratio = np.random.random_sample() * (2.0 - 0.5) + 0.5  # noqa: NPY002
        scale = int(480 * ratio), int(360 * ratio)
        factor = min(max(scale) / 160, min(scale) / 120)
        assert (width, height) == (int(160 * factor + 0.5), int(120 * factor + 0.5))
    np.random.seed(3)  # noqa: NPY002
    sample = Compose(steps)(copy.deepcopy(loaded))
    image = sample['inputs']
    out = MODELS.build(cfg.model.data_preprocessor)(
        dict(inputs=[image], data_samples=[sample['data_samples']]), training=True
    )
    # Normalize, then Pad, as 0.x has them.
    normal = (image.flip(0).float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    height, width = image.shape[1:]
    assert out['inputs'].shape == (1, 3, 512, 512)
    assert torch.allclose(out['inputs'][0, :, :height, :width], normal, atol=1e-5)
    assert not out['inputs'][0, :, height:].any()
    assert (out['data_samples'][0].gt_sem_seg.data[0, height:] == 255).all()


def test_a_config_of_mmsegmentation_trains_and_is_tested(tmp_path: Path) -> None:
    picture(tmp_path)
    new = migrated(tmp_path, old=FCN.replace('{root!r}', repr(tmp_path.as_posix())))
    remarks = [line for line in new.read_text(encoding='utf-8').splitlines() if line[:3] == '# -']
    assert remarks == [
        "# - custom_hooks=[{'type': 'MyHook'}]",
        "# - workflow=[('train', 1), ('val', 1)]",
        '# - data.train.pipeline: MyOwnStep is not registered here and is left out',
        '# - MultiScaleFlipAug: it becomes one scale; write a tta_pipeline',
        '# - log_config.hooks: TensorboardLoggerHook; write visualizer.vis_backends',
        '# - log_config.hooks: PaviLoggerHook; write visualizer.vis_backends',
    ]
    cfg = load_config(str(new))
    dataset = cfg.train_dataloader.dataset
    assert dataset.type == 'ConcatDataset' and len(dataset.datasets) == 2
    own = dataset.datasets[0]
    assert (own.type, own.data_prefix) == (
        'BaseSegDataset', dict(img_path='img', seg_map_path='ann')
    )  # fmt: skip
    assert own.metainfo.classes == ('a', 'b', 'c') and own.reduce_zero_label
    assert own.pipeline[2] == dict(
        type='RandomChoiceResize', scales=[(96, 64), (128, 96)], keep_ratio=True
    )
    assert own.pipeline[4].prob == 0.25
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(64, 64), stride=(42, 42))
    assert cfg.model.data_preprocessor.test_cfg == dict(size_divisor=32)
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (96, 64)
    assert cfg.randomness.seed == 7 and cfg.optim_wrapper.clip_grad == dict(max_norm=1.0)
    work_dir = tmp_path / 'run'
    assert run('train.py', new, '--work-dir', work_dir) == 0
    assert [file.name for file in work_dir.glob('iter_*.pth')] == ['iter_4.pth']
    checkpoint = work_dir / 'iter_4.pth'
    assert run('test.py', new, checkpoint, '--work-dir', tmp_path / 'test') == 0


def test_other_settings_of_0x(tmp_path: Path) -> None:
    text = NVLABS.replace(
        'optimizer_config = dict()',
        """fp16 = dict(loss_scale=512.)
optimizer_config = dict(type='GradientCumulativeFp16OptimizerHook', cumulative_iters=4)""",
    )
    text = text.replace("metric='mIoU'", "metric=['mIoU', 'mDice'], save_best='mDice', extra=1")
    text = text.replace('resume_from = None', "resume_from = 'iter_9.pth'")
    text = text.replace(
        "dict(type='TextLoggerHook', by_epoch=False)",
        "dict(type='WandbLoggerHook', init_kwargs=dict(project='a'))",
    )
    data = NVLABS_DATA.replace(
        'img_scale=(480, 360), ratio_range=(0.5, 2.0)', 'img_scale=[(480, 360), (960, 720)]'
    )
    data = data.replace("dataset_type = 'CamVidDataset'", "dataset_type = 'MyOwnDataset'")
    data = data.replace(
        "img_dir='train', ann_dir='trainannot'", "img_dir=['a', 'b'], ann_dir=['c', 'd']"
    )
    new = migrated(tmp_path, data=data, old=text)
    remarks = [line for line in new.read_text(encoding='utf-8').splitlines() if line[:3] == '# -']
    assert '# - data.train: MyOwnDataset becomes BaseSegDataset; write its classes' in remarks[0]
    assert '# - evaluation.extra=1' in remarks
    cfg = load_config(str(new))
    assert (cfg.resume, cfg.load_from) == (True, 'iter_9.pth')
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.loss_scale) == ('AmpOptimWrapper', 512.0)
    assert wrapper.accumulative_counts == 4
    assert cfg.val_evaluator == dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])
    assert cfg.default_hooks.checkpoint.save_best == 'mDice'
    parts = cfg.train_dataloader.dataset.datasets
    assert [part.data_prefix.seg_map_path for part in parts] == ['c', 'd']
    resize = Compose(parts[0].pipeline[:3])
    loaded, sizes = picture(tmp_path), set()
    for seed in range(200):
        np.random.seed(seed)  # noqa: NPY002
        height, width = resize(copy.deepcopy(loaded))['img'].shape[:2]
        # Resize.random_sample of 0.x: both edges from their own range.
        np.random.seed(seed)  # noqa: NPY002
        edges = [np.random.randint(a, b + 1) for a, b in ((480, 960), (360, 720))]  # noqa: NPY002
        factor = min(max(edges) / 160, min(edges) / 120)
        assert (width, height) == (int(160 * factor + 0.5), int(120 * factor + 0.5))
        sizes.add(width)
    assert min(sizes) < 560 and max(sizes) > 880


def test_a_checkpoint_of_0x_is_model_start_and_teacher(trained: Path, tmp_path: Path) -> None:
    saved = torch.load(trained / 'run' / 'iter_6.pth', map_location='cpu', weights_only=False)
    classes = saved['meta']['dataset_meta']['classes']
    head = {'weight': torch.zeros(12, 16, 1, 1), 'bias': torch.zeros(12)}
    weights = {f'decode_head.conv_seg.{key}': value for key, value in head.items()}
    old = tmp_path / 'iter_160000.pth'
    meta = dict(mmseg_version='0.11.0', CLASSES=classes, PALETTE=[[0, 0, 0]] * len(classes), iter=9)
    torch.save(dict(meta=meta, state_dict=weights | saved['state_dict']), old)
    config = trained / 'config.py'
    assert run('test.py', config, old, '--work-dir', tmp_path / 'test') == 0
    options = ('--cfg-options', 'train_cfg.max_iters=1', f'load_from={old.as_posix()}')
    assert run('train.py', config, '--work-dir', tmp_path / 'start', *options) == 0
    student = tmp_path / 'student.py'
    student.write_text(
        f"""_base_ = {config.as_posix()!r}
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(config={config.as_posix()!r}, checkpoint={old.as_posix()!r}),
    kd_losses=dict(kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0)))
train_cfg = dict(max_iters=1)
""",
        encoding='utf-8',
    )
    assert run('train.py', student, '--work-dir', tmp_path / 'student') == 0


def test_mistakes_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    old, new = tmp_path / 'old.py', tmp_path / 'new.py'
    text = NVLABS.replace("_base_ = ['./data.py']", NVLABS_DATA).replace(
        'data = dict(samples_per_gpu=2)', ''
    )
    later = Config(dict(train_dataloader={}, model={})).pretty_text
    for content, message in (
        ('model = dict(', 'old.py, line 1'),
        ('a = 1', 'old.py: model is not a dict; name a whole config of 0.x'),
        (later, 'is a config of mmsegmentation 1.x already'),
        (text.replace("type='IterBasedRunner'", "type='EpochBasedRunner'"), 'by epochs'),
        (text.replace('min_lr=0.0, by_epoch=False', 'min_lr=0.0'), 'old.py: a training by epochs'),
        (text.replace('max_iters=400', 'max_epochs=4'), "write runner=dict(type='IterBased"),
        (text.replace("dict(type='LoadAnnotations')", '3'), 'old.py is not a config of 0.x'),
        (
            text.replace("backbone=dict(type='mit_b0', style='pytorch')", 'backbone=3'),
            'AttributeError',
        ),
    ):
        old.write_text(content, encoding='utf-8')
        assert run(TOOL, old, new) == 2, message
        error = capfd.readouterr().err
        assert message in error and error.count('\n') == 1 and 'Traceback' not in error
        assert [file.name for file in tmp_path.iterdir()] == ['old.py']
    old.write_text(text, encoding='utf-8')
    for arguments, message in (
        ((tmp_path / 'lost.py', new), 'lost.py does not exist'),
        ((old, old), 'old.py exists; name a new file'),
        ((old, tmp_path / 'new.yaml'), 'does not end in .py'),
    ):
        assert run(TOOL, *arguments) == 2
        assert message in capfd.readouterr().err
    assert old.read_text(encoding='utf-8') == text


def test_what_is_wrong_with_the_new_config_is_listed(tmp_path: Path) -> None:
    text = NVLABS.replace("type='mit_b0', style", "type='IMTRv21', style")
    text = text.replace('embed_dim=192', 'embed_dimm=192')
    text = text.replace("type='EncoderDecoder'", "type='MyDistiller'")
    text = text.replace("policy='poly'", "policy='cyclic', target_ratio=3")
    text += 'distill = dict(temperature=3)\nembed_dimm = 192\n'
    new = migrated(tmp_path, data=NVLABS_DATA, old=text).read_text(encoding='utf-8')
    assert '# - model.backbone: IMTRv21 is not registered here' in new
    assert '# - model: MyDistiller is not registered here' in new
    assert "# - lr_config.policy='cyclic'; LrUpdater has" in new
    assert '# - lr_config.target_ratio=3' in new
    assert '# - distill={' in new and '# - embed_dimm' not in new
    assert '# - to correct before it loads: model.decode_head.embed_dimm: did you ' in new
