from __future__ import annotations

import builtins
import collections
import hashlib
import io
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

from mmseg_kd.checkpoints import read_checkpoint, sha256_of, state_dict_of
from mmseg_kd.errors import UserError


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f'{path}: ')
    assert '\n' not in message and message.isprintable()
    assert 'weights_only=False' not in message
    return message


def zip_pickle(path: Path, pickled: bytes) -> Path:
    """A torch.save file whose pickle is the given one."""
    whole = io.BytesIO()
    torch.save({}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, 'w') as target:
        for name in source.namelist():
            data = pickled if name.endswith('/data.pkl') else source.read(name)
            target.writestr(name, data)
    return path


class Calls:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class TestStockCheckpoint:
    def test_message_hub_resumes(self, tmp_path):
        hub = MessageHub.get_instance('safe_load_written')
        for step, loss in enumerate((3.0, 1.0, 2.0)):
            hub.update_scalar('train/loss', loss)
            hub.update_info('iter', step)
        hub.update_scalar('train/acc', np.float32(0.5))
        hub.update_info('best_score', np.float64(67.94))
        hub.log_scalars['train/empty'] = HistoryBuffer()
        hub._resumed_keys['train/empty'] = True
        path = tmp_path / 'iter_3.pth'
        torch.save({'message_hub': hub.state_dict(), 'state_dict': {'w': torch.ones(2)}}, path)

        resumed = MessageHub.get_instance('safe_load_read')
        resumed.load_state_dict(read_checkpoint(path)['message_hub'])

        loss = resumed.get_scalar('train/loss')
        assert type(loss) is HistoryBuffer
        assert (loss.min(), loss.max(), loss.mean(), loss.current()) == (1.0, 3.0, 2.0, 2.0)
        assert loss.statistics('mean', 2) == 1.5
        loss.update(6.0)
        np.testing.assert_array_equal(loss.data[0], [3.0, 1.0, 2.0, 6.0])
        np.testing.assert_array_equal(loss.data[1], [1, 1, 1, 1])
        assert loss.data[1].dtype == hub.get_scalar('train/loss').data[1].dtype
        assert loss.max_length == 1_000_000
        assert len(resumed.get_scalar('train/empty').data[0]) == 0
        assert resumed.get_info('iter') == 2
        assert resumed.get_info('best_score') == 67.94
        # what was read can be saved and read again
        torch.save({'message_hub': resumed.state_dict()}, path)
        again = read_checkpoint(path)['message_hub']['log_scalars']['train/loss']
        assert again.current() == 6.0

    def test_runner_checkpoint_resumes(self, tmp_path):
        from mmengine.dataset import DefaultSampler
        from mmengine.model import BaseModel
        from mmengine.runner import Runner

        class Line(BaseModel):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(1, 1)

            def forward(self, inputs, mode):
                return dict(loss=self.linear(inputs).square().mean())

        def runner(steps):
            return Runner(
                Line(),
                str(tmp_path),
                train_dataloader=dict(
                    dataset=[torch.ones(1)] * 4,
                    sampler=dict(type=DefaultSampler, shuffle=False),
                    batch_size=2,
                    collate_fn=dict(type=lambda items: {'inputs': torch.stack(items)}),
                ),
                train_cfg=dict(by_epoch=False, max_iters=steps, val_interval=100),
                optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
                param_scheduler=dict(type='PolyLR', end=4, by_epoch=False),
                default_hooks=dict(
                    checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False),
                    logger=dict(type='LoggerHook', interval=1),
                ),
                log_level='ERROR',
                experiment_name=f'safe_load_runner_{steps}',
            )

        trained = runner(2)
        trained.train()
        checkpoint = read_checkpoint(tmp_path / 'iter_2.pth')

        assert checkpoint['meta']['iter'] == 2
        assert set(checkpoint) >= {'message_hub', 'optimizer', 'param_schedulers', 'state_dict'}
        loss = checkpoint['message_hub']['log_scalars']['train/loss']
        assert len(loss.data[0]) == 2
        assert loss.current() == trained.message_hub.get_scalar('train/loss').current()
        weights = state_dict_of(checkpoint)
        torch.testing.assert_close(weights['linear.weight'], trained.model.linear.weight.data)
        optimizer = torch.optim.AdamW(nn.Linear(1, 1).parameters(), lr=1.0)
        optimizer.load_state_dict(checkpoint['optimizer'])
        assert optimizer.state_dict()['state'][0]['step'] == 2

    def test_numpy_values(self, tmp_path):
        values = {
            'f4': np.arange(6, dtype=np.float32).reshape(2, 3),
            'fortran': np.asfortranarray(np.arange(6).reshape(2, 3)),
            'big_endian': np.array([1, 2], dtype='>i4'),
            'empty': np.empty((0, 3)),
            'zero_d': np.array(4.5),
            'mask': np.array([True, False]),
            'random': np.random.default_rng(0).integers(0, 2**32, 624, dtype=np.uint32),
        }
        path = tmp_path / 'numpy.pth'
        shared = values['f4']
        scalars = [np.float64(2.5), np.int64(-3), np.bool_(True), np.float16(0.5)]
        torch.save({'arrays': values, 'again': (shared, [shared]), 'scalars': scalars}, path)
        read = read_checkpoint(path)
        for name, value in values.items():
            assert type(read['arrays'][name]) is np.ndarray
            assert read['arrays'][name].dtype == value.dtype
            np.testing.assert_array_equal(read['arrays'][name], value)
        assert read['arrays']['f4'].flags.writeable
        assert read['again'][0] is read['again'][1][0] is read['arrays']['f4']
        assert read['scalars'] == scalars
        assert [type(value) for value in read['scalars']] == [type(value) for value in scalars]

    def test_numpy_1_names(self, tmp_path):
        path = tmp_path / 'old.pth'
        whole = io.BytesIO()
        torch.save({'a': np.array([1.5]), 's': np.float64(2.5)}, whole)
        with zipfile.ZipFile(whole) as archive:
            name = next(n for n in archive.namelist() if n.endswith('data.pkl'))
            pickled = archive.read(name).replace(b'numpy._core.', b'numpy.core.')
        read = read_checkpoint(zip_pickle(path, pickled))
        assert (read['a'].tolist(), read['s']) == ([1.5], 2.5)

    def test_legacy_format(self, tmp_path):
        path = tmp_path / 'legacy.pth'
        torch.save({'w': torch.arange(3)}, path, _use_new_zipfile_serialization=False)
        assert read_checkpoint(path)['w'].tolist() == [0, 1, 2]

    def test_names_other_libraries_allow_are_not_allowed_here(self, tmp_path):
        path = tmp_path / 'mixed.pth'
        torch.save({'a': np.array([1.0])}, path)
        others = [np.dtype, np.ndarray, getattr, HistoryBuffer, pickle.loads]
        before = set(torch.serialization.get_safe_globals())
        with torch.serialization.safe_globals(others):
            assert read_checkpoint(path)['a'].tolist() == [1.0]
            torch.save({'a': Calls(pickle.loads, b'N.')}, path)
            assert 'pickle.loads' in refusal(path)
            assert set(torch.serialization.get_safe_globals()) == before | set(others)
        assert set(torch.serialization.get_safe_globals()) == before


@pytest.fixture
def footprint(tmp_path):
    return tmp_path / 'executed'


def touch(footprint):
    return f'{sys.executable} -c "open({str(footprint)!r}, \'w\')"'


class TestHostile:
    @pytest.fixture(params=['zip', 'legacy', 'bare', 'nested'])
    def save(self, request, tmp_path, footprint):
        """Writes an object in one of the formats; checks that reading it ran nothing."""

        def write(value):
            path = tmp_path / 'hostile.pth'
            if request.param == 'bare':
                path.write_bytes(pickle.dumps({'state_dict': value}, protocol=2))
            elif request.param == 'nested':
                inner = collections.OrderedDict(a=[(torch.ones(1), {'b': value})])
                torch.save({'message_hub': {'log_scalars': inner}}, path)
            else:
                is_zip = request.param == 'zip'
                torch.save({'w': value}, path, _use_new_zipfile_serialization=is_zip)
            return path

        yield write
        assert not footprint.exists()

    def test_system(self, save, footprint):
        import os

        message = refusal(save(Calls(os.system, touch(footprint))))
        assert f'refuses to load, it names "{os.system.__module__}.system"' in message

    @pytest.mark.parametrize('name', ['eval', 'exec', '__import__', 'open', 'compile'])
    def test_builtins(self, save, footprint, name):
        args = (str(footprint), 'w') if name == 'open' else (f'open({str(footprint)!r}, "w")',)
        message = refusal(save(Calls(getattr(builtins, name), *args)))
        assert f'{name}"' in message and 'refuses to load' in message

    def test_path_touch(self, save, footprint):
        assert 'pathlib' in refusal(save(Calls(Path.touch, footprint)))

    def test_getattr_of_a_class(self, save):
        assert 'getattr(HistoryBuffer,' in refusal(save(Calls(getattr, HistoryBuffer, '__init__')))

    def test_getattr_of_a_value(self, save):
        assert 'getattr(dict,' in refusal(save(Calls(getattr, {}, '__class__')))

    def test_getattr_chain_to_globals(self, save):
        chain = Calls(getattr, Calls(getattr, HistoryBuffer, 'min'), '__globals__')
        assert 'getattr(str,' in refusal(save(chain))

    def test_getattr_on_getattr(self, save):
        assert 'getattr' in refusal(save(Calls(getattr, getattr, '__self__')))

    def test_statistics_method_is_not_called(self, save):
        assert 'unrecognized function' in refusal(save(Calls(HistoryBuffer.min, 1)))

    def test_function_of_numpy(self, save):
        assert 'numpy' in refusal(save(Calls(np.load, 'x.npy')))

    def test_whole_model(self, save):
        assert 'torch.nn.modules.linear.Linear' in refusal(save(nn.Linear(1, 1)))


class Stated:
    """Pickles as `function(*args)` and then the given state."""

    def __init__(self, function, args, state):
        self.parts = function, args, state

    def __reduce__(self):
        return self.parts


class TestHostileState:
    """What a file may set on the objects it is allowed to make."""

    def array(self, shape, dtype, raw):
        return Stated(
            np._core.multiarray._reconstruct,
            (np.ndarray, (0,), b'b'),
            (1, shape, dtype, False, raw),
        )

    def dtype(self, code, state):
        return Stated(np.dtype, (code, False, True), state)

    def save(self, tmp_path, value):
        path = tmp_path / 'state.pth'
        torch.save({'a': value}, path)
        return path

    def test_object_array(self, tmp_path):
        value = np.array([None, 'x'], dtype=object)
        assert 'it names "numpy.ndarray(object)"' in refusal(self.save(tmp_path, value))

    def test_pickle_in_an_object_scalar(self, tmp_path, footprint):
        inner = pickle.dumps(Calls(eval, f'open({str(footprint)!r}, "w")'), protocol=2)
        value = Calls(np._core.multiarray.scalar, np.dtype('O'), inner)
        assert 'it names "numpy.dtype(\'O8\')"' in refusal(self.save(tmp_path, value))
        assert not footprint.exists()

    def test_record_array(self, tmp_path):
        value = np.zeros(2, dtype=[('x', 'i8'), ('y', 'f8')])
        assert 'it names "numpy.dtype(\'V16\')"' in refusal(self.save(tmp_path, value))

    def test_bytes_as_pointers(self, tmp_path):
        # a void dtype that is told it holds an object at offset 0
        fields = {'p': (np.dtype('O'), 0)}
        dtype = self.dtype('V8', (3, '|', None, ('p',), fields, 8, 1, 0))
        message = refusal(self.save(tmp_path, self.array((1,), dtype, b'\x41' * 8)))
        assert "numpy.dtype('V8')" in message

    def test_number_dtype_with_forged_fields_stays_a_number(self, tmp_path):
        fields = {'p': (np.dtype('O'), 0)}
        dtype = self.dtype('i8', (3, '<', None, ('p',), fields, 8, 1, 63))
        raw = (7).to_bytes(8, 'little')
        value = read_checkpoint(self.save(tmp_path, self.array((1,), dtype, raw)))['a']
        assert (value.dtype, value.tolist()) == (np.dtype('i8'), [7])

    @pytest.mark.parametrize('shape', [(1 << 40,), (-2,), (1 << 62, 4), (3,), 'x', (1.5,)])
    def test_shape_beyond_the_bytes(self, tmp_path, shape):
        refusal(self.save(tmp_path, self.array(shape, np.dtype('f8'), b'\0' * 16)))

    def test_constructor_arguments_are_not_used(self, tmp_path):
        huge = Calls(np.ndarray, (1 << 50,), np.dtype('u1'))
        assert 'numpy.ndarray' in refusal(self.save(tmp_path, huge))
        array = Calls(np._core.multiarray._reconstruct, np.ndarray, (1 << 50,), b'b')
        refusal(self.save(tmp_path, array))

    def test_bytes_are_never_allocated_by_number(self, tmp_path):
        refusal(self.save(tmp_path, Calls(bytes, 1 << 50)))

    def test_second_state_frees_nothing_a_tensor_shows(self, tmp_path):
        array = np.arange(4.0)
        tensor = Calls(
            torch._utils._rebuild_device_tensor_from_numpy, array, torch.float64, 'cpu', 0
        )
        refusal(self.save(tmp_path, [tensor, array]))

    def history(self, state):
        return Stated(HistoryBuffer, (), state)

    def test_history_does_not_change_the_class(self, tmp_path):
        arrays = {'_log_history': np.array([1.0]), '_count_history': np.array([1])}
        state = {
            **arrays,
            'max_length': 5,
            'statistics_methods': {'mean': torch.Size, 'evil': torch.Size},
            'update': torch.Size,
            '__class__': torch.Size,
        }
        before = dict(HistoryBuffer._statistics_methods)
        read = read_checkpoint(self.save(tmp_path, self.history(state)))['a']
        assert type(read) is HistoryBuffer
        assert {**HistoryBuffer._statistics_methods} == {**before, **self.defaults()}
        assert set(vars(read)) == {'max_length', '_log_history', '_count_history'}
        read.update(3.0)
        assert read.statistics('mean') == 2.0

    def defaults(self):
        return {name: getattr(HistoryBuffer, name) for name in ('min', 'max', 'current', 'mean')}

    @pytest.mark.parametrize('log', [torch.ones(1), [1.0], None, {}])
    def test_history_of_something_else(self, tmp_path, log):
        state = {'_log_history': log, '_count_history': log, 'max_length': 5}
        refusal(self.save(tmp_path, self.history(state)))

    def test_history_without_state(self, tmp_path):
        refusal(self.save(tmp_path, Calls(HistoryBuffer)))

    def test_deep_and_shared_and_cyclic_containers_end(self, tmp_path):
        deep = []
        for _ in range(50_000):
            deep = [deep]
        pickled = b'\x80\x02' + b']' * 50_000 + b'a' * 49_999 + b'.'
        refusal(zip_pickle(tmp_path / 'deep.pth', pickled))
        laughs = (np.float64(1.0),)
        for _ in range(60):
            laughs = (laughs, laughs)
        cyclic = [np.array([1.0])]
        cyclic.append(cyclic)
        read = read_checkpoint(self.save(tmp_path, {'laughs': laughs, 'cyclic': cyclic}))['a']
        assert read['cyclic'][1] is read['cyclic']
        assert type(read['cyclic'][0]) is np.ndarray

    def test_shadowed_items(self, tmp_path):
        shadowed = Stated(collections.OrderedDict, (), {'items': torch.Size, 'get': torch.Size})
        path = self.save(tmp_path, shadowed)
        pickled = {'state_dict': shadowed, 'other': np.float64(1.0)}
        torch.save(pickled, path)
        with pytest.raises(UserError, match='holds no model weights'):
            state_dict_of(read_checkpoint(path))

    def test_escape_codes_are_not_printed(self, tmp_path):
        path = zip_pickle(tmp_path / 'escape.pth', b'\x80\x02c\x1b[2Jos\n\x1b[1msystem\n.')
        assert '\\x1b[2Jos' in refusal(path)


class TestFormats:
    def test_tar_of_old_torch(self, tmp_path, footprint):
        path = tmp_path / 'old.pth'
        hostile = pickle.dumps(Calls(eval, f'open({str(footprint)!r}, "w")'), protocol=2)
        with tarfile.open(path, 'w') as archive:
            for name in ('storages', 'tensors', 'pickle'):
                member = tarfile.TarInfo(name)
                member.size = len(hostile)
                archive.addfile(member, io.BytesIO(hostile))
        assert 'tar format' in refusal(path)
        assert not footprint.exists()

    def test_torchscript(self, tmp_path):
        path = tmp_path / 'script.pth'
        # the marker by which torch tells a program: building one takes seconds
        zip_pickle(path, b'\x80\x02}.')
        with zipfile.ZipFile(path, 'a') as archive:
            archive.writestr(f'{archive.namelist()[0].split("/")[0]}/constants.pkl', b'\x80\x02).')
        assert 'TorchScript' in refusal(path)

    @pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
    def test_plain_pickle(self, tmp_path, footprint, protocol):
        path = tmp_path / 'plain.pth'
        call = Calls(eval, f'open({str(footprint)!r}, "w")')
        path.write_bytes(pickle.dumps({'a': call}, protocol=protocol))
        refusal(path)
        assert not footprint.exists()

    def test_protocol_0_reduce(self, tmp_path, footprint):
        path = tmp_path / 'zero.pth'
        command = touch(footprint).replace("'", '"')
        path.write_bytes(f"cos\nsystem\n(S'{command}'\ntR.".encode())
        assert 'it names "os.system"' in refusal(path)
        assert not footprint.exists()

    def test_missing(self, tmp_path):
        assert 'no such file' in refusal(tmp_path / 'none.pth')

    def test_folder(self, tmp_path):
        assert 'is a folder' in refusal(tmp_path)

    def test_empty(self, tmp_path):
        path = tmp_path / 'empty.pth'
        path.touch()
        assert 'is empty (0 bytes)' in refusal(path)

    @pytest.mark.parametrize('part', [0.02, 0.5, 0.99])
    def test_truncated(self, tmp_path, part):
        path = tmp_path / 'cut.pth'
        torch.save({'w': torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        message = refusal(path)
        assert 'is truncated, damaged or not a checkpoint' in message
        assert 'download it again' in message

    def test_web_page(self, tmp_path):
        path = tmp_path / 'page.pth'
        path.write_text('\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>')
        assert 'is a web page' in refusal(path)

    @pytest.mark.parametrize('text', ['Not found', 'checkpoint file\nof a run\n', '{"error": 1}'])
    def test_text(self, tmp_path, text):
        path = tmp_path / 'text.pth'
        path.write_text(text)
        message = refusal(path)
        assert 'is a text file' in message
        assert text[:9] in message

    def test_lfs_pointer(self, tmp_path):
        path = tmp_path / 'pointer.pth'
        path.write_text(
            'version https://git-lfs.github.com/spec/v1\n'
            'oid sha256:4af8348c2a802bf76115d34797ff5ce1d9f110bb8593c22d9b66d8bd7fa227fc\n'
            'size 14380029\n'
        )
        assert 'git-lfs pointer' in refusal(path)
        assert 'git lfs pull' in refusal(path)

    def test_noise(self, tmp_path):
        path = tmp_path / 'noise.pth'
        path.write_bytes(np.random.default_rng(0).bytes(4096))
        assert 'not a checkpoint' in refusal(path)

    def test_not_a_dict(self, tmp_path):
        path = tmp_path / 'list.pth'
        torch.save([torch.ones(1)], path)
        assert 'holds a list instead of a dict' in refusal(path)

    def test_safetensors(self, tmp_path):
        from safetensors.torch import save_file

        path = tmp_path / 'model.safetensors'
        save_file({'w': torch.arange(3.0)}, path)
        assert read_checkpoint(path)['w'].tolist() == [0.0, 1.0, 2.0]
        path.write_bytes(path.read_bytes()[:-4])
        assert 'damaged' in refusal(path)
        path.write_text('<html></html>')
        assert 'web page' in refusal(path)


class TestStateDictOf:
    @pytest.mark.parametrize('key', ['state_dict', 'model', 'model_state_dict'])
    def test_wrapped(self, key):
        assert list(state_dict_of({key: {'w': torch.ones(1)}, 'meta': {}})) == ['w']

    def test_bare(self):
        assert list(state_dict_of({'w': torch.ones(1), 'epoch': 3})) == ['w']

    def test_ddp_prefix(self):
        assert list(state_dict_of({'module.w': torch.ones(1), 'module.b': torch.ones(1)})) == [
            'w',
            'b',
        ]
        mixed = {'module.w': torch.ones(1), 'b': torch.ones(1)}
        assert list(state_dict_of(mixed)) == list(mixed)

    def test_no_tensors(self):
        with pytest.raises(UserError, match=r'x\.pth: holds no model weights, only epoch, lr'):
            state_dict_of({'epoch': 1, 'lr': 0.1}, 'x.pth')

    @pytest.mark.parametrize(
        'odd', [torch.eye(2).to_sparse(), torch.empty(2, device='meta')], ids=['sparse', 'meta']
    )
    def test_odd_tensors(self, odd):
        with pytest.raises(UserError, match='w is sparse, quantized or without data'):
            state_dict_of({'w': odd})

    @pytest.mark.parametrize(
        'value', [float('nan'), float('inf'), -float('inf'), 1j * float('nan')]
    )
    def test_not_finite(self, value):
        with pytest.raises(UserError, match=r'x\.pth: w is not finite'):
            state_dict_of({'v': torch.ones(2), 'w': torch.tensor([1, value])}, 'x.pth')

    @pytest.mark.parametrize(
        'dtype', [torch.float8_e4m3fn, torch.bfloat16, torch.int64, torch.bool]
    )
    def test_types_that_are_finite(self, dtype):
        assert list(state_dict_of({'w': torch.ones(2).to(dtype)})) == ['w']

    def test_not_finite_in_8_bits(self):
        with pytest.raises(UserError, match='w is not finite'):
            state_dict_of({'w': torch.tensor([float('nan')]).to(torch.float8_e5m2)})

    def test_a_storage_shown_many_times(self, tmp_path):
        # 4 TiB in a file of a kilobyte.
        torch.save({'w': torch.zeros(1).expand(2**20, 2**20)}, tmp_path / 'x.pth')
        with pytest.raises(UserError, match=r'w of shape \(1048576, 1048576\) repeats its 4 bytes'):
            state_dict_of(read_checkpoint(tmp_path / 'x.pth'), tmp_path / 'x.pth')
        assert list(state_dict_of({'w': torch.zeros(1).expand(100)})) == ['w']

    def test_unprintable_name(self):
        with pytest.raises(UserError, match=r'cannot be shown, a\\nb'):
            state_dict_of({'a\nb': torch.ones(1)})


def test_sha256(tmp_path):
    path = tmp_path / 'big'
    data = bytes(range(256)) * 10_000
    path.write_bytes(data)
    assert sha256_of(path) == hashlib.sha256(data).hexdigest()
