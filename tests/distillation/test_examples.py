"""The examples in the docstrings of mmseg_kd.distillation run and print what they say."""

import doctest
import pkgutil
from importlib import import_module

import pytest
import torch

from mmseg_kd import distillation
from mmseg_kd.distillation import losses

MODULES = [m.name for m in pkgutil.walk_packages(distillation.__path__, 'mmseg_kd.distillation.')]


@pytest.mark.parametrize('name', MODULES)
def test_the_examples_of_a_module(name: str) -> None:
    found = doctest.testmod(import_module(name), extraglobs={'torch': torch})
    assert found.failed == 0


@pytest.mark.parametrize('name', losses.__all__)
def test_every_loss_has_an_example(name: str) -> None:
    assert '>>> ' in getattr(losses, name).__doc__
