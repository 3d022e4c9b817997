"""Bad data: images, masks, lists, settings of data sets, copies to convert, predictions."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from campaign.case import Case, Step, copy, cut, folder, mine, move, remove, replace, write
from PIL import Image

CAM, OWN = 'train.py cam.py', 'train.py own.py'
CONVERT = 'dataset_converters/camvid.py copy new'
MATRIX = 'analysis_tools/confusion_matrix.py cam.py predictions new'
PAGE = '<!DOCTYPE html><html><body>Not found</body></html>'
POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n'
HEIC = b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(200)


def picture(mode: str, value: object, size: tuple[int, int] = (64, 64), kind: str = 'PNG') -> bytes:
    """The file of a picture of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, kind)
    return buffer.getvalue()


def array(save: Callable, values: np.ndarray) -> bytes:
    """The file of an array."""
    buffer = io.BytesIO()
    save(buffer, values)
    return buffer.getvalue()


def both(name: str, image: bytes | str, suffix: str = 'png') -> Step:
    """Replace an image of `own`, whatever its suffix is to be."""
    return write(f'own/images/{name}.{suffix}', image)


def cam(name: str, says: str, text: str) -> Case:
    """CamVid with a wrong setting."""
    dataset = f'train_dataloader = dict(dataset=dict({text}))'
    return Case(name, 'train.py mine.py', says, (mine(dataset, 'cam.py'),))


def own(name: str, says: str, text: str) -> Case:
    """A data set of one's own with a wrong setting."""
    dataset = f'train_dataloader = dict(dataset=dict({text}))'
    return Case(name, 'train.py mine.py', says, (mine(dataset, 'own.py'),))


def pidnet(*steps: Step) -> tuple[Step, ...]:
    """A copy of CamVid in colours, 0 to 2, and what is done to it."""
    frames = ['0001TP_006690', '0001TP_006720', '0016E5_07959']
    files = [write(f'copy/images/{frame}.png', picture('RGB', (9, 9, 9))) for frame in frames]
    files += [write(f'copy/labels/{f}_L.png', picture('RGB', (128, 128, 128))) for f in frames]
    return (*files, *steps)


def predictions(*steps: Step) -> tuple[Step, ...]:
    """Predictions of CamVid's test split, and what is done to them."""
    return (*(write(f'predictions/{i}.png', picture('L', 1)) for i in range(2)), *steps)


# ruff: noqa: E501
# fmt: off
CASES = [
    # CamVid: folders.
    Case('no image', CAM, 'train', (remove('camvid/train.txt'), folder('camvid/train'))),
    Case('no mask', CAM, '0.png', (remove('camvid/train.txt'), folder('camvid/trainannot'))),
    Case('a mask of another name', CAM, '0.png', (remove('camvid/train.txt'), move('camvid/trainannot/0.png', 'camvid/trainannot/0_L.png'))),
    Case('images and masks swapped', CAM, 'trainannot', (move('camvid/train', 'camvid/x'), move('camvid/trainannot', 'camvid/train'), move('camvid/x', 'camvid/trainannot'))),
    cam('a root that is a file', 'data_root', "data_root='config.py'"),
    cam('a root one too deep', 'data_root', "data_root='camvid/train'"),
    cam('a root that is empty', 'data_root', "data_root=''"),
    cam('a split that is misspelt', 'split', "split='training'"),
    cam('a suffix that is fixed', 'img_suffix', "img_suffix='.jpg'"),
    cam('memory in words', 'cache_mib', "cache_mib='1GB'"),
    Case('a split without its masks', 'test.py cam.py teacher.pth', 'testannot', (remove('camvid/testannot'),)),
    # CamVid: lists.
    Case('three columns', CAM, 'train.txt', (replace('camvid/train.txt', '0.png\n', '0.png 7\n'),)),
    Case('a comma', CAM, 'train.txt', (replace('camvid/train.txt', '.png ', '.png,'),)),
    Case('a list of names', CAM, 'train.txt', (write('camvid/train.txt', '0\n1\n'),)),
    Case('an image twice in its line', CAM, '0.png', (replace('camvid/train.txt', 'trainannot/', 'train/'),)),
    Case('columns swapped', CAM, '0.png', (write('camvid/train.txt', 'trainannot/0.png train/0.png\n'),)),
    Case('an image that is gone', CAM, '1.png', (remove('camvid/train/1.png'),)),
    Case('a list that is a picture', CAM, 'train.txt', (copy('camvid/train/0.png', 'camvid/train.txt'),)),
    Case('a list of nothing', CAM, 'train.txt', (write('camvid/train.txt', '\n \n'),)),
    cam('a list that is missing', 'lost.txt', "ann_file='lost.txt'"),
    cam('a list that is a folder', 'ann_file', "ann_file='val'"),
    # CamVid: files.
    Case('an image cut short', CAM, '0.png', (cut('camvid/train/0.png'), cut('camvid/train/1.png'))),
    Case('a mask of no byte', CAM, 'trainannot', (write('camvid/trainannot/0.png', ''), write('camvid/trainannot/1.png', ''))),
    Case('a photo in the place of a mask', CAM, 'trainannot', [write(f'camvid/trainannot/{i}.png', picture('RGB', (5, 5, 5), kind='JPEG')) for i in (0, 1)]),
    Case('a web page', CAM, '0.png', (write('camvid/train/0.png', PAGE), write('camvid/train/1.png', PAGE))),
    Case('a pointer of git', CAM, 'trainannot', (write('camvid/trainannot/0.png', POINTER), write('camvid/trainannot/1.png', POINTER))),
    Case('a folder named as an image', CAM, '0.png', (remove('camvid/train.txt'), folder('camvid/train/0.png'))),
    Case('a class beyond the last', CAM, 'trainannot', [write(f'camvid/trainannot/{i}.png', picture('L', 12)) for i in (0, 1)]),
    Case('void as 255', CAM, 'trainannot', [write(f'camvid/trainannot/{i}.png', picture('L', 255)) for i in (0, 1)]),
    Case('a mask of one bit', CAM, 'trainannot', [write(f'camvid/trainannot/{i}.png', picture('1', 1)) for i in (0, 1)]),
    Case('a mask of half the size', CAM, 'trainannot', [write(f'camvid/trainannot/{i}.png', picture('L', 1, (32, 32))) for i in (0, 1)]),
    Case('a broken image in validation', 'test.py cam.py teacher.pth --split val', 'val', (cut('camvid/val/0.png'),)),
    Case('a broken image in a picture', 'analysis_tools/browse_dataset.py cam.py --output-dir new', '0.png', (cut('camvid/train/0.png'), cut('camvid/train/1.png'))),
    # A data set of one's own.
    own('a folder that is missing', 'lost', "data_prefix=dict(img_path='lost')"),
    own('a misspelt folder key', 'img', "data_prefix=dict(_delete_=True, img='images', mask='masks')"),
    own('a list that no one finds', 'lost.txt', "ann_file='lost.txt'"),
    own('a list without a line', 'empty.txt', "ann_file='empty.txt'"),
    own('a name that is no image', 'nobody', "ann_file='other.txt'"),
    own('classes that are not named', 'classes', 'metainfo=dict(_delete_=True)'),
    own('more classes than the model', 'classes', "metainfo=dict(_delete_=True, classes=[str(i) for i in range(13)], palette=[[i, i, i] for i in range(13)])"),
    own('a palette that is too short', 'palette', 'metainfo=dict(palette=[[0, 0, 0]])'),
    Case('a mask with an unknown class', OWN, 'masks', [write(f'own/masks/{i}.png', picture('L', 40)) for i in (0, 1)]),
    Case('an array named as a mask', OWN, 'masks', [write(f'own/masks/{i}.png', array(np.save, np.zeros((64, 64), np.uint8))) for i in (0, 1)]),
    Case('floats in a mask', OWN, 'masks', [write(f'own/masks/{i}.png', picture('F', 1.5, kind='TIFF')) for i in (0, 1)]),
    Case('a photo of a telephone', OWN, 'images', (both('0', HEIC), both('1', HEIC))),
    Case('a drawing', OWN, 'images', (both('0', '<svg xmlns="http://www.w3.org/2000/svg"/>'), both('1', '<svg/>'))),
    Case('a folder among the images', OWN, 'images', (folder('own/images/0.png'), folder('own/images/1.png'))),
    Case('a shortcut that leads nowhere', OWN, 'images', (write('own/images/0.png', b'IntxLNK\1/\0n\0o'), write('own/images/1.png', b'IntxLNK\1/\0n\0o'))),
    # A copy to convert.
    Case('a copy without masks', CONVERT, '0001TP_006690', pidnet(folder('copy/labels'))),
    Case('a copy without images', CONVERT, 'copy', pidnet(folder('copy/labels'), folder('copy/images'))),
    Case('a mask without its image', CONVERT, '0016E5_07959_L.png', pidnet(remove('copy/images/0016E5_07959.png'))),
    Case('a grey mask among colours', CONVERT, '0016E5_07959_L', pidnet(write('copy/labels/0016E5_07959_L.png', picture('L', 3)))),
    Case('a mask cut short', CONVERT, '0016E5_07959_L', pidnet(cut('copy/labels/0016E5_07959_L.png'))),
    Case('a mask of another size', CONVERT, '0016E5_07959_L', pidnet(write('copy/labels/0016E5_07959_L.png', picture('RGB', 0, (9, 9))))),
    Case('a frame of another name', CONVERT, 'IMG_1234', pidnet(move('copy/images/0016E5_07959.png', 'copy/images/IMG_1234.png'), move('copy/labels/0016E5_07959_L.png', 'copy/labels/IMG_1234_L.png'))),
    Case('codes that are unknown', CONVERT, 'codes.txt', pidnet(write('copy/codes.txt', 'Sky\nUnicorn\n'))),
    Case('more codes than ids', CONVERT, 'codes.txt', pidnet(write('copy/codes.txt', 'Sky\n' * 300))),
    Case('codes that are no text', CONVERT, 'codes.txt cannot be read as text', pidnet(write('copy/codes.txt', b'\xff\xff\x80Sky'))),
    Case('an archive that is a web page', 'dataset_converters/camvid.py --download new --url URL', 'archive', (write('page.zip', PAGE),)),
    # Predictions.
    Case('a prediction that is missing', MATRIX, '1.png', predictions(remove('predictions/1.png'))),
    Case('a prediction of another size', MATRIX, '1.png', predictions(write('predictions/1.png', picture('L', 1, (9, 9))))),
    Case('a prediction of no class', MATRIX, '1.png', predictions(write('predictions/1.png', picture('L', 99)))),
    Case('a prediction in colours', MATRIX, '1.png', predictions(write('predictions/1.png', picture('RGB', 1)))),
    Case('a prediction that is text', MATRIX, '1.png', predictions(write('predictions/1.png', 'mIoU 60'))),
    Case('a prediction that is a folder', MATRIX, '1.png', predictions(folder('predictions/1.png'))),
]
