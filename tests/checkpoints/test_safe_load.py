from __future__ import annotations

import hashlib
import io
import pickle
import zipfile

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from pickled import Calls, refusal, zip_pickle
from torch import nn

from mmseg_kd.checkpoints import read_checkpoint, sha256_of, state_dict_of


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


def test_sha256(tmp_path):
    path = tmp_path / 'big'
    data = bytes(range(256)) * 10_000
    path.write_bytes(data)
    assert sha256_of(path) == hashlib.sha256(data).hexdigest()
