"""A release of a library that renames or changes a private part that is used fails here."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from traceback import walk_tb

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.utils import get_object_from_string
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd import compat
from mmseg_kd.config.keys import PARAMWISE
from mmseg_kd.registry import only_registered

# Private methods of mmengine that the package overrides, and the public one that calls each.
OVERRIDDEN = {
    # Initialise with weights that must fit, and without a line for each parameter in the log.
    'mmengine.runner.Runner._init_model_weights': 'train',
    # Compile the blocks instead of the whole training step.
    'mmengine.runner.Runner._maybe_compile': 'train',
    # Write a checkpoint atomically, with the random state of every process.
    'mmengine.hooks.CheckpointHook._save_checkpoint_with_step': '_save_checkpoint',
    # Keep the best checkpoint until the next is written.
    'mmengine.hooks.CheckpointHook._save_best_checkpoint': 'after_val_epoch',
}


@pytest.mark.parametrize(('method', 'caller'), OVERRIDDEN.items())
def test_what_is_overridden_is_still_called(method: str, caller: str) -> None:
    owner, name = method.rsplit('.', 1)
    cls = get_object_from_string(owner)
    assert inspect.isfunction(getattr(cls, name))
    assert f'self.{name}(' in inspect.getsource(getattr(cls, caller))


LOGGED_BY = {
    'mmengine.runner.runner': (
        'System environment',
        'Config:',
        'Hooks will be executed',
        'Distributed training is not used',
        'Load checkpoint',
        'resumed epoch',
    ),
    'mmengine.runner.loops': ('Advance dataloader',),
    'mmengine.hooks.checkpoint_hook': ('Checkpoints will be saved',),
    'mmengine.hooks.logger_hook': ('Exp name', '"FileClient"'),
    'mmengine.optim.optimizer.default_constructor': ('paramwise_options',),
    'mmengine.evaluator.metric': ('The prefix is not set',),
    'mmengine.fileio.file_client': ('"HardDiskBackend"',),
    'mmseg.evaluation.metrics.iou_metric': ('per class results',),
}


@pytest.mark.parametrize(('module', 'messages'), LOGGED_BY.items())
def test_messages_kept_from_the_console_are_still_logged(
    module: str, messages: tuple[str, ...]
) -> None:
    source = inspect.getsource(import_module(module))
    assert all(message.strip('"') in source for message in messages)


def test_each_message_kept_from_the_console_is_known() -> None:
    known = [message for messages in LOGGED_BY.values() for message in messages]
    assert sorted(known) == sorted(compat.DEVELOPER_MESSAGES)


@pytest.mark.parametrize('message', compat.DEAD_WORKER)
def test_what_torch_says_of_a_dead_worker(message: str) -> None:
    assert message in inspect.getsource(import_module('torch.utils.data.dataloader'))
    assert hasattr(import_module('multiprocessing.queues').Queue, compat.FEEDER_ERROR)


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


def test_the_keys_of_paramwise_cfg() -> None:
    source = inspect.getsource(DefaultOptimWrapperConstructor)
    assert set(re.findall(r"paramwise_cfg\.get\(\s*'(\w+)'", source)) == PARAMWISE


def test_accumulated_batches() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    for count in (1, 4):
        wrapper = OptimWrapper(optimizer, accumulative_counts=count)
        assert wrapper.scale_loss(torch.ones(())) == 1 / count


def test_settings_of_the_compiler() -> None:
    compat.configure_compiler()
    # torch.compiler's options are names for those of dynamo.
    assert torch._dynamo.config.recompile_limit == 256
    assert torch._dynamo.config.accumulated_recompile_limit == 256
    # torch refuses to set an option that it does not have.
    others = (torch._inductor.config, torch._functorch.config)
    for config in (torch._dynamo.config, torch.compiler.config, *others):
        with pytest.raises(AttributeError):
            config.no_such_option = 1


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason='torch has no CUDA')
def test_memory_of_a_capture() -> None:
    for name in ('_cuda_endAllocateToPool', '_cuda_releasePool'):
        assert callable(getattr(torch._C, name))


def test_labels_of_a_head() -> None:
    source = inspect.getsource(BaseDecodeHead._stack_batch_gt)
    assert 'data_sample.gt_sem_seg.data for data_sample in batch_data_samples' in source
    assert 'torch.stack(' in source


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


def test_a_dotted_name_is_built_only_if_it_is_registered() -> None:
    convolution = dict(type='ConvModule', in_channels=1, out_channels=1, kernel_size=1)
    hostile = dict(convolution, padding='true', padding_mode='os.system')
    with only_registered():
        with pytest.raises(KeyError, match='Cannot find'):
            MODELS.build(hostile)
        dotted = dict(convolution, type='mmcv.cnn.bricks.conv_module.ConvModule')
        assert type(MODELS.build(dotted)).__name__ == 'ConvModule'
