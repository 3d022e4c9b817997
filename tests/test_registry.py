"""Where the names in a config are looked up."""

from pathlib import Path

import mmseg.models
import pytest
from conftest import KD_LOSSES, ROOT, tiny_config, tiny_model
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmseg import registry as mmseg_registry

from measuring.stock import stock_model
from mmseg_kd import models
from mmseg_kd.config import load_config
from mmseg_kd.distillation import losses
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError
from mmseg_kd.models import EncoderDecoder, KDEncoderDecoder
from mmseg_kd.registry import MODELS, REGISTRIES


@pytest.mark.parametrize('scope', ['mmseg_kd', 'mmseg'])
@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('EncoderDecoder', {'mmseg_kd': EncoderDecoder, 'mmseg': mmseg.models.EncoderDecoder}),
        ('mmseg.EncoderDecoder', mmseg.models.EncoderDecoder),
        ('mmseg_kd.EncoderDecoder', EncoderDecoder),
        # The name in configs of earlier versions.
        ('WholeImageEncoderDecoder', EncoderDecoder),
        ('KDEncoderDecoder', KDEncoderDecoder),
    ],
)
@pytest.mark.parametrize('registry', [MODELS, mmseg_registry.MODELS, ROOT_MODELS])
def test_the_default_scope_decides(
    scope: str, kind: str, expected: object, registry: object
) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        built = registry.build(tiny_model(type=kind))
    assert type(built) is (expected[scope] if isinstance(expected, dict) else expected)


def test_both_registries_have_what_the_project_registers() -> None:
    for name in {*losses.__all__, *models.__all__} - {'EncoderDecoder'}:
        assert mmseg_registry.MODELS.get(name) is MODELS.get(name) is not None, name


@pytest.mark.parametrize('kind', REGISTRIES)
def test_every_name_of_mmseg_and_mmengine_is_found(kind: str) -> None:
    own, parent = REGISTRIES[kind], vars(mmseg_registry)[kind]
    for name in {*parent.parent.module_dict, *parent.module_dict}:
        if name not in ('EncoderDecoder', 'LoadImageFromFile', 'LoadAnnotations'):
            assert own.get(name) is parent.get(name), name


def test_the_shipped_configs_say_what_they_are() -> None:
    found = set()
    for file in (ROOT / 'local_configs').glob('[!_]*/**/*.py'):
        if file.parent.name != 'studies':
            cfg = load_config(str(file))
            assert cfg.default_scope == 'mmseg_kd', file
            expected = 'KDEncoderDecoder' if 'kd_losses' in cfg.model else 'EncoderDecoder'
            assert cfg.model.type == expected, file
            found.add(expected)
    assert found == {'EncoderDecoder', 'KDEncoderDecoder'}


def test_the_check_of_the_config_knows_scopes() -> None:
    file = str(ROOT / 'local_configs/toy/segformer.b0.toy.py')
    for kind in ('mmseg.EncoderDecoder', 'mmseg_kd.EncoderDecoder', 'WholeImageEncoderDecoder'):
        assert load_config(file, {'model.type': kind}).model.type == kind
        with pytest.raises(UserError, match=r'model\.backbnoe: did you mean .backbone'):
            load_config(file, {'model.type': kind, 'model.backbnoe': 1})
    with pytest.raises(UserError, match=r"'mmseg\.EncoderDecodr' is not registered: did"):
        load_config(file, {'model.type': 'mmseg.EncoderDecodr'})


def test_benchmarks_compare_with_the_class_of_mmseg() -> None:
    cfg = load_config(str(ROOT / 'local_configs/toy/segformer.b0.toy.py'))
    assert type(stock_model(cfg.model)) is mmseg.models.EncoderDecoder
    assert type(mmseg_registry.MODELS.build(cfg.model | dict(pretrained=None))) is EncoderDecoder


@pytest.mark.parametrize('scope', ['mmseg_kd', 'mmseg'])
def test_a_student_trains_and_is_tested_under_either_scope(
    tmp_path: Path, teacher: dict, scope: str, capsys: pytest.CaptureFixture
) -> None:
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    cfg = tiny_config(
        tmp_path / 'run',
        model=model,
        default_scope=scope,
        train_cfg__max_iters=2,
        train_cfg__val_interval=2,
    )
    runner = build_runner(cfg)
    runner.train()
    assert set(runner.test()) >= {'mIoU'}
    assert (tmp_path / 'run' / 'iter_2.pth').is_file()
    # What mmengine says where it finds no registry of the scope.
    assert 'Failed to search registry' not in capsys.readouterr().out
