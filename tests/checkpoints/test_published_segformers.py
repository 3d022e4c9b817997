"""Published SegFormer checkpoints as a teacher and as a start, in the layouts of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import TINY_BACKBONE, tiny_config, tiny_model
from mit_files import to_hugging_face
from mmseg.registry import MODELS
from safetensors.torch import save_file
from torch import nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from mmseg_kd.checkpoints.mit_layouts import to_nvlabs
from mmseg_kd.config import choose_start
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError

MMSEG_HEAD = dict(
    type='SegformerHead',
    in_channels=[8, 16, 16, 32],
    in_index=[0, 1, 2, 3],
    channels=16,
    num_classes=12,
    norm_cfg=dict(type='BN', requires_grad=True),
    loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
)
IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator) - 0.5
            bare = noise + 1 if 'var' in key else value + 0.2 * noise
            value.copy_(bare if value.ndim < 2 else 2 * noise / value[0].numel() ** 0.5)


def hugging_face(classes: int = 12) -> nn.Module:
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=list(TINY_BACKBONE['embed_dims']),
        num_attention_heads=list(TINY_BACKBONE['num_heads']),
        decoder_hidden_size=16,
        num_labels=classes,
    )
    model = SegformerForSemanticSegmentation(config).eval()
    randomise(model)
    # transformers keeps torch's eps in blocks and stages, the authors have 1e-6 there.
    for name, module in model.named_modules():
        patch = 'patch_embeddings' in name or 'sequence_reduction' in name
        if isinstance(module, nn.LayerNorm) and not patch:
            module.eps = 1e-6
    return model


def names_of_4(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names under which nvidia/segformer-b0-finetuned-ade-512-512 is published."""
    own = {k.removeprefix('segformer.'): v for k, v in state.items() if k.startswith('segformer.')}
    backbone = to_hugging_face(to_nvlabs(own), 4)
    head = {k: v for k, v in state.items() if k.startswith('decode_head.')}
    return {f'segformer.encoder.{key}': value for key, value in backbone.items()} | {
        key.replace('linear_projections', 'linear_c'): value for key, value in head.items()
    }


@torch.no_grad()
@pytest.mark.parametrize('version', [4, 5])
@pytest.mark.parametrize('suffix', ['.bin', '.safetensors'])
def test_a_teacher_of_hugging_face(version: int, suffix: str, tmp_path: Path) -> None:
    theirs = hugging_face()
    state = theirs.state_dict()
    state = names_of_4(state) if version == 4 else state
    file = tmp_path / f'model{suffix}'
    save = save_file if suffix == '.safetensors' else torch.save
    save({key: value.contiguous() for key, value in state.items()}, file)
    teacher = Teacher(tiny_model(), str(file))
    logits = teacher.segmentor(IMAGES, mode='tensor')
    torch.testing.assert_close(logits, theirs(IMAGES).logits, atol=1e-4, rtol=0)
    assert logits.std() > 0.05


@torch.no_grad()
def test_a_teacher_of_mmseg(tmp_path: Path) -> None:
    backbone = dict(
        type='MixVisionTransformer',
        embed_dims=8,
        num_layers=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        qkv_bias=True,
    )
    theirs = MODELS.build(tiny_model(backbone=backbone, decode_head=MMSEG_HEAD)).eval()
    randomise(theirs)
    meta = dict(CLASSES=tuple('abcdefghijkl'), PALETTE=None)
    torch.save({'state_dict': theirs.state_dict(), 'meta': meta}, tmp_path / 'w.pth')
    ours = tiny_model(
        backbone=TINY_BACKBONE | dict(embed_dims=(8, 16, 16, 32), num_heads=(1, 2, 2, 4)),
        decode_head=MMSEG_HEAD,
    )
    teacher = Teacher(ours, str(tmp_path / 'w.pth'))
    expected = theirs(IMAGES, mode='tensor')
    # mmseg has eps 1e-6 in places where the authors have 1e-5.
    torch.testing.assert_close(
        teacher.segmentor(IMAGES, mode='tensor'), expected, atol=1e-2, rtol=0
    )
    assert teacher.classes == list('abcdefghijkl')


def test_mmsegs_head_does_not_fit_ours(tmp_path: Path) -> None:
    theirs = MODELS.build(tiny_model(decode_head=MMSEG_HEAD))
    torch.save(theirs.state_dict(), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'unexpected 30 \(decode_head\.convs\.0\.conv'):
        Teacher(tiny_model(), str(tmp_path / 'w.pth'))


class TestOtherClasses:
    """`load_from` a checkpoint that has 150 classes."""

    @pytest.fixture(params=['hugging_face', 'own'])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        if request.param == 'hugging_face':
            torch.save(names_of_4(hugging_face(150).state_dict()), tmp_path / 'w.pth')
        else:
            model = MODELS.build(
                tiny_model(decode_head=tiny_model()['decode_head'] | dict(num_classes=150))
            )
            torch.save({'state_dict': model.state_dict()}, tmp_path / 'w.pth')
        return tmp_path / 'w.pth'

    def run(self, source: Path, tmp_path: Path, **options: object) -> nn.Module:
        cfg = tiny_config(tmp_path / 'run', load_from=str(source), **options)
        choose_start(cfg, None)
        runner = build_runner(cfg)
        runner.load_or_resume()
        return runner.model

    def test_the_refusal_names_the_key(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError) as caught:
            self.run(source, tmp_path)
        assert str(caught.value).endswith(
            'the checkpoint has 150 classes, the model 12; to keep everything but the classifier, '
            'write reset_classifier=True'
        )

    def test_all_but_the_classifier(self, source: Path, tmp_path: Path) -> None:
        model = self.run(source, tmp_path, reset_classifier=True)
        own, saved = model.state_dict(), torch.load(source)
        saved = saved.get('state_dict', saved)
        (fused,) = (saved[k] for k in saved if 'linear_fuse' in k and saved[k].ndim == 4)
        assert torch.equal(own['decode_head.linear_fuse.conv.weight'], fused)
        assert own['decode_head.linear_pred.weight'].shape[0] == 12
        line = next(x for x in self.lines(tmp_path) if 'starts anew' in x)
        assert 'of another shape 2 (decode_head.linear_pred.weight (150, 16, 1, 1) for (12' in line

    def lines(self, tmp_path: Path) -> list[str]:
        (log,) = (tmp_path / 'run').glob('*/*.log')
        return log.read_text(encoding='utf-8').splitlines()

    @pytest.mark.parametrize('source', ['own'], indirect=True)
    def test_what_is_saved_loads_without_a_reset(self, source: Path, tmp_path: Path) -> None:
        options = dict(load_from=str(source), reset_classifier=True)
        for iterations, resume in ((3, None), (6, 'auto')):
            cfg = tiny_config(tmp_path / 'run', **options, train_cfg__max_iters=iterations)
            choose_start(cfg, resume)
            build_runner(cfg).train()
        assert (tmp_path / 'run' / 'iter_6.pth').is_file()
        logs = [log.read_text(encoding='utf-8') for log in (tmp_path / 'run').glob('*/*.log')]
        assert ''.join(logs).count('starts anew') == 1

    def test_another_width_is_refused_all_the_same(self, tmp_path: Path) -> None:
        head = tiny_model()['decode_head'] | dict(embed_dim=8)
        model = MODELS.build(tiny_model(decode_head=head))
        torch.save(model.state_dict(), tmp_path / 'w.pth')
        with pytest.raises(UserError, match='does not fit'):
            self.run(tmp_path / 'w.pth', tmp_path, reset_classifier=True)
