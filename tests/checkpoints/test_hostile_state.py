from __future__ import annotations

import collections
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from pickled import Calls, refusal, zip_pickle

from mmseg_kd.checkpoints import read_checkpoint, state_dict_of
from mmseg_kd.errors import UserError


@pytest.fixture
def footprint(tmp_path):
    return tmp_path / 'executed'


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
        fitting, other = (self.array(x, np.dtype('f8'), b'\0' * 16) for x in ((2,), shape))
        assert read_checkpoint(self.save(tmp_path, fitting))['a'].tolist() == [0, 0]
        refusal(self.save(tmp_path, other))

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
