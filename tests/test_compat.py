"""A release of a library that renames or changes a private part that is used fails here."""

import inspect
from importlib import import_module
from pathlib import Path
from traceback import walk_tb

import pytest
import torch
from conftest import tiny_model
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmengine.utils import get_object_from_string
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_kd import compat


@pytest.mark.parametrize(('method', 'caller'), compat.OVERRIDDEN.items())
def test_what_is_overridden_is_still_called(method: str, caller: str) -> None:
    owner, name = method.rsplit('.', 1)
    cls = get_object_from_string(owner)
    assert inspect.isfunction(getattr(cls, name))
    assert f'self.{name}(' in inspect.getsource(getattr(cls, caller))


@pytest.mark.parametrize(('message', 'module'), compat.DEVELOPER_MESSAGES.items())
def test_messages_kept_from_the_console_are_still_logged(message: str, module: str) -> None:
    assert message.strip('"') in inspect.getsource(import_module(module))


@pytest.mark.parametrize('message', compat.DEAD_WORKER)
def test_what_torch_says_of_a_dead_worker(message: str) -> None:
    assert message in inspect.getsource(import_module('torch.utils.data.dataloader'))


def test_a_config_with_a_mark(tmp_path: Path) -> None:
    compat.read_configs_with_byte_order_marks()
    (tmp_path / 'config.py').write_text('x = 1\n', encoding='utf-8-sig')
    assert Config.fromfile(tmp_path / 'config.py').x == 1


def test_the_frames_of_a_config_and_of_what_is_built(tmp_path: Path) -> None:
    (tmp_path / 'config.py').write_text('x = 1 / 0\n')
    with pytest.raises(ZeroDivisionError) as reading:
        Config.fromfile(tmp_path / 'config.py')
    assert sum(compat.is_code_of_a_config(f) for f, _ in walk_tb(reading.value.__traceback__)) == 1
    part = dict(type='SegDataPreProcessor', mean=[1, 2])
    with pytest.raises(AssertionError) as building:
        MODELS.build(part)
    built = [compat.part_being_built(f) for f, _ in walk_tb(building.value.__traceback__)]
    assert [one for one in built if one] == [(part, 'SegDataPreProcessor')]


def test_the_listing_of_an_initialisation() -> None:
    model = MODELS.build(tiny_model())
    assert inspect.ismethod(model._dump_init_info)
    assert 'self._dump_init_info()' in inspect.getsource(type(model).init_weights)
    with compat.without_init_listing(model):
        model.init_weights()
    assert inspect.ismethod(model._dump_init_info)


def test_the_keys_of_paramwise_cfg() -> None:
    documented = {'custom_keys', 'bias_lr_mult', 'norm_decay_mult', 'bypass_duplicate'}
    assert documented <= compat.paramwise_keys()


def test_accumulated_batches() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    assert compat.accumulated_batches(OptimWrapper(optimizer, accumulative_counts=3)) == 3


def test_settings_of_the_compiler() -> None:
    # torch refuses to set an option that it does not have.
    compat.configure_compiler()
    with pytest.raises(AttributeError):
        torch._dynamo.config.no_such_option = 1


def test_whether_the_processor_computes_in_16_bits() -> None:
    assert isinstance(compat.cpu_computes_in(torch.bfloat16), bool)
    assert isinstance(compat.cpu_computes_in(torch.float16), bool)
    with pytest.raises(KeyError):
        compat.cpu_computes_in(torch.float32)


@pytest.mark.parametrize(
    'register',
    [
        'register_forward_hook',
        'register_forward_pre_hook',
        'register_full_backward_hook',
        'register_full_backward_pre_hook',
    ],
)
def test_hooks_of_a_part_are_found(register: str) -> None:
    module = nn.Sequential(nn.Linear(1, 1))
    assert not compat.has_hooks(module)
    handle = getattr(module[0], register)(lambda *_: None)
    assert compat.has_hooks(module)
    handle.remove()
    assert not compat.has_hooks(module)


def test_labels_of_a_head() -> None:
    head = MODELS.build(tiny_model()).decode_head
    labels = torch.randint(12, (1, 4, 4))
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    assert torch.equal(compat.stacked_labels(head, [sample, sample])[1], labels)


def test_what_a_preprocessor_does_to_images() -> None:
    images = [torch.rand(3, 32, 32) * 255]
    for swap in (False, True):
        for mean in (None, [1.0, 2.0, 3.0]):
            std = mean and [2.0, 2.0, 2.0]
            preprocessor = MODELS.build(
                dict(type='SegDataPreProcessor', bgr_to_rgb=swap, mean=mean, std=std)
            )
            assert compat.swaps_channels(preprocessor) is swap
            assert compat.normalises(preprocessor) is bool(mean)
            seen = preprocessor(dict(inputs=images))['inputs'][0]
            expected = images[0].flip(0) if swap else images[0]
            if mean:
                expected = (expected - torch.tensor(mean)[:, None, None]) / 2
            assert torch.allclose(seen, expected)
    for other in (None, BaseDataPreprocessor()):
        assert not compat.swaps_channels(other)
        assert not compat.normalises(other)
