from __future__ import annotations

import numpy as np
import pytest

from mmseg_kd.checkpoints import atomic_path, find_latest_checkpoint


class TestAtomicPath:
    def test_appears_whole(self, tmp_path):
        path = tmp_path / 'new' / 'report.json'
        with atomic_path(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text('half')
            assert not path.exists()
            temporary.write_text('whole')
        assert path.read_text() == 'whole'
        assert [file.name for file in path.parent.iterdir()] == ['report.json']

    def test_suffix_is_kept_for_writers_that_go_by_it(self, tmp_path):
        with atomic_path(tmp_path / 'a.npz') as temporary:
            np.savez(temporary, x=np.arange(3))
        assert np.load(tmp_path / 'a.npz')['x'].tolist() == [0, 1, 2]

    @pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
    def test_failure_leaves_the_old_file(self, tmp_path, error):
        path = tmp_path / 'iter_1.pth'
        path.write_text('old')
        with pytest.raises(error), atomic_path(path) as temporary:
            temporary.write_text('half')
            raise error
        assert path.read_text() == 'old'
        assert list(tmp_path.iterdir()) == [path]

    def test_nothing_written(self, tmp_path):
        with pytest.raises(FileNotFoundError), atomic_path(tmp_path / 'a'):
            pass
        assert not list(tmp_path.iterdir())

    def test_nested_writers_of_one_path(self, tmp_path):
        path = tmp_path / 'a'
        with atomic_path(path) as one, atomic_path(path) as two:
            one.write_text('one')
            two.write_text('two')
        assert path.read_text() == 'one'


class TestFindLatestCheckpoint:
    @pytest.fixture
    def run(self, tmp_path):
        for name in ('iter_900.pth', 'iter_1000.pth', 'iter_2000.pth', 'best_mIoU_iter_900.pth'):
            (tmp_path / name).touch()
        (tmp_path / '.iter_3000.abc.tmp.pth').touch()
        (tmp_path / 'iter_4000.pth.tmp').touch()
        (tmp_path / 'iter_5000.pth').mkdir()
        return tmp_path

    @pytest.mark.parametrize(
        'text',
        [
            '/gone/run/iter_1000.pth',
            'C:\\gone\\run\\iter_1000.pth',
            'iter_1000.pth\n',
            'iter_1000.pth',
        ],
    )
    def test_pointer(self, run, text):
        (run / 'last_checkpoint').write_text(text)
        assert find_latest_checkpoint(run) == run / 'iter_1000.pth'

    @pytest.mark.parametrize(
        'text',
        ['', ' \n', '/gone/run/iter_10', '/gone/run/iter_7000.pth', '/gone/', '\0\0\0', '..'],
    )
    def test_useless_pointer(self, run, text):
        (run / 'last_checkpoint').write_text(text)
        assert find_latest_checkpoint(run) == run / 'iter_2000.pth'

    def test_no_pointer(self, run):
        assert find_latest_checkpoint(str(run)) == run / 'iter_2000.pth'

    def test_pointer_to_another_folder(self, run, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp('out_dir') / 'iter_7000.pth'
        elsewhere.touch()
        (run / 'last_checkpoint').write_text(str(elsewhere))
        assert find_latest_checkpoint(run) == elsewhere

    def test_epochs(self, tmp_path):
        for n in (9, 10):
            (tmp_path / f'epoch_{n}.pth').touch()
        assert find_latest_checkpoint(tmp_path) == tmp_path / 'epoch_10.pth'

    def test_nothing(self, tmp_path):
        assert find_latest_checkpoint(tmp_path) is None
        assert find_latest_checkpoint(tmp_path / 'none') is None
