from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from mmseg_kd.checkpoints import atomic_path, find_latest_checkpoint, remove_file
from mmseg_kd.paths import WAITS


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

    def test_a_full_disk_names_the_file_and_nothing_else(self, tmp_path):
        path = tmp_path / 'iter_1.pth'
        with pytest.raises(OSError) as caught, atomic_path(path):
            raise OSError(errno.ENOSPC, 'No space left on device')
        assert str(caught.value).endswith(f"No space left on device: '{path}'")

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


class TestLockedFiles:
    """On Windows a virus scanner or an editor holds a file for a moment."""

    @pytest.fixture(autouse=True)
    def waits(self, monkeypatch):
        waits = []
        monkeypatch.setattr('mmseg_kd.paths.time.sleep', waits.append)
        return waits

    @pytest.fixture
    def locked(self, monkeypatch):
        """A function that lets the next n calls of each kind fail."""

        def lock(times, kinds=('open', 'replace', 'unlink')):
            left = dict.fromkeys(kinds, times)

            def refusing(name, action):
                def call(*args, **kwargs):
                    if left.get(name):
                        left[name] -= 1
                        raise PermissionError(errno.EACCES, 'Access is denied', str(args[0]))
                    return action(*args, **kwargs)

                return call

            monkeypatch.setattr(Path, 'open', refusing('open', Path.open))
            monkeypatch.setattr(os, 'replace', refusing('replace', os.replace))
            monkeypatch.setattr(Path, 'unlink', refusing('unlink', Path.unlink))

        return lock

    def test_is_waited_for(self, tmp_path, locked, waits):
        path = tmp_path / 'study.json'
        path.write_text('old')
        with atomic_path(path) as temporary:
            temporary.write_text('new')
            locked(3)
        assert len(waits) == 3 * 3
        assert path.read_text() == 'new'
        assert list(tmp_path.iterdir()) == [path]
        locked(1)
        remove_file(path)
        assert not path.exists()

    @pytest.mark.parametrize('kind', ['open', 'replace'])
    def test_is_waited_for_during_seconds(self, tmp_path, locked, waits, kind):
        path = tmp_path / 'iter_1.pth'
        path.write_text('old')
        with pytest.raises(PermissionError) as error, atomic_path(path) as temporary:
            temporary.write_text('new')
            locked(len(WAITS) + 1, [kind])
        assert error.value.filename == str(path)
        assert 3 < sum(waits) < 20
        assert path.read_text() == 'old'
        assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_file(tmp_path):
    full = OSError(errno.ENOSPC, 'No space left on device')
    with pytest.raises(OSError, match='No space') as error, atomic_path(tmp_path / 'a.pth'):
        raise full
    assert error.value.filename == str(tmp_path / 'a.pth')


def test_only_plain_files_are_removed(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    remove_file(tmp_path / 'none')
    remove_file(tmp_path / 'folder')
    assert (tmp_path / 'folder').is_dir()
    remove_file(tmp_path / 'file')
    assert not (tmp_path / 'file').exists()


@pytest.mark.skipif(os.name == 'nt', reason='links need a right on Windows')
def test_links_stay(tmp_path):
    (tmp_path / 'file').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    remove_file(tmp_path / 'link')
    assert (tmp_path / 'link').exists()


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
