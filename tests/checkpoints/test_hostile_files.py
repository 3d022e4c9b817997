from __future__ import annotations

import builtins
import collections
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from pickled import Calls, refusal, touch
from torch import nn


@pytest.fixture
def footprint(tmp_path):
    return tmp_path / 'executed'


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
        assert 'it names "pathlib.' in refusal(save(Calls(Path.touch, footprint)))

    def test_getattr_of_a_class(self, save):
        assert 'getattr(HistoryBuffer,' in refusal(save(Calls(getattr, HistoryBuffer, '__init__')))

    def test_getattr_of_a_value(self, save):
        assert 'getattr(dict,' in refusal(save(Calls(getattr, {}, '__class__')))

    def test_getattr_chain_to_globals(self, save):
        chain = Calls(getattr, Calls(getattr, HistoryBuffer, 'min'), '__globals__')
        assert 'getattr(str,' in refusal(save(chain))

    def test_getattr_on_getattr(self, save):
        assert 'getattr(_statistics_method,' in refusal(save(Calls(getattr, getattr, '__self__')))

    def test_statistics_method_is_not_called(self, save):
        assert 'unrecognized function' in refusal(save(Calls(HistoryBuffer.min, 1)))

    def test_function_of_numpy(self, save):
        assert 'it names "numpy.load"' in refusal(save(Calls(np.load, 'x.npy')))

    def test_whole_model(self, save):
        assert 'torch.nn.modules.linear.Linear' in refusal(save(nn.Linear(1, 1)))
