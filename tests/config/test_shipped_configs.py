"""The configs that the project ships."""

import pytest
from conftest import ROOT

from mmseg_kd.config import load_config

LEAVES = sorted(
    str(p.relative_to(ROOT))
    for p in (ROOT / 'local_configs').rglob('*.py')
    if not {'_base_', 'studies'} & set(p.parts)
)
KD = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py')
B0 = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py')


@pytest.mark.parametrize('config', LEAVES)
def test_every_shipped_config_is_clean(config: str) -> None:
    cfg = load_config(str(ROOT / config))
    assert cfg.work_dir.startswith('work_dirs/')
    if cfg.model.backbone.type == 'TIMMBackbone':
        # timm downloads weights otherwise, also with model.pretrained=None.
        assert cfg.model.backbone.pretrained is False


def test_the_student_adds_a_teacher_and_losses_and_nothing_else() -> None:
    student, baseline = load_config(KD), load_config(B0)
    assert student.model.pop('teacher') == dict(
        config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py',
        checkpoint='work_dirs/segformer_b2_camvid_teacher/iter_40000.pth',
    )
    assert student.model.pop('kd_losses') == dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
    )
    assert student.model.pop('type') == 'KDEncoderDecoder'
    assert baseline.model.pop('type') == 'EncoderDecoder'
    assert student.pop('work_dir') != baseline.pop('work_dir')
    assert student.to_dict() == baseline.to_dict()


@pytest.mark.parametrize('config', [leaf for leaf in LEAVES if leaf.endswith('.kd.py')])
def test_a_students_teacher_is_what_its_config_trains(config: str) -> None:
    teacher = load_config(str(ROOT / config)).model.teacher
    cfg = load_config(str(ROOT / teacher.config))
    assert teacher.checkpoint == f'{cfg.work_dir}/iter_{cfg.train_cfg.max_iters}.pth'
    assert 'end' not in cfg.param_scheduler[-1]


@pytest.mark.parametrize('size', ['B0', 'B2'])
def test_the_published_settings(size: str) -> None:
    name = f'segformer.{size.lower()}.512x512.camvid'
    cfg = load_config(str(ROOT / f'local_configs/segformer/{size}/{name}.py'))
    optimizer, scheduler = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 3e-5, 0.01)
    assert tuple(optimizer.betas) == (0.9, 0.999)
    assert (scheduler[0].start_factor, scheduler[0].end) == (1e-6, 1500)
    assert (scheduler[1].power, scheduler[1].eta_min, scheduler[1].begin) == (1.0, 0.0, 1500)
    assert 'end' not in scheduler[1]
    assert cfg.model.data_preprocessor.size == (512, 512)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (40000, 4000)
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.num_workers) == (4, 4)
    assert cfg.default_hooks.checkpoint.interval == 4000
    assert cfg.model.decode_head.embed_dim == {'B0': 256, 'B2': 768}[size]
    assert cfg.model.pretrained == f'pretrained/mit_{size.lower()}.pth'
    assert cfg.model.backbone.type == f'mit_{size.lower()}'
