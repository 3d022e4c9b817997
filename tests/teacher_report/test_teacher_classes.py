"""Whether teacher and student know the same classes."""

import ast

import pytest
import torch

from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.errors import UserError
from mmseg_kd.teacher_report import card as teacher_card


def with_meta(teacher: dict, **meta: object) -> dict:
    weights = torch.load(teacher['checkpoint'], weights_only=True)
    torch.save(weights | dict(meta=meta), teacher['checkpoint'])
    return teacher


@pytest.mark.parametrize(
    'meta',
    [dict(CLASSES=('Sky', 'street_sign')), dict(dataset_meta=dict(classes=['sky', 'Street sign']))],
)
def test_classes_of_both_versions_of_mmseg_are_compared(teacher: dict, meta: dict) -> None:
    known = Teacher(**with_meta(teacher, **meta))
    teacher_card.check_classes(known, ('SKY', 'Street-Sign'))
    with pytest.raises(UserError, match='the same classes in another order') as caught:
        teacher_card.check_classes(known, ('street sign', 'sky'))
    assert str(known.checkpoint) in str(caught.value)
    with pytest.raises(UserError, match='2 classes instead of 3'):
        teacher_card.check_classes(known, ('sky', 'street sign', 'car'))


def test_other_names_for_the_same_ids_can_be_declared(teacher: dict) -> None:
    own = ('sky', 'bike')
    with pytest.raises(UserError) as caught:
        teacher_card.check_classes(Teacher(**with_meta(teacher, CLASSES=('sky', 'bicycle'))), own)
    assert "ids 1 ('bicycle', 'bike') differ; if only the names differ, write" in str(caught.value)
    setting = str(caught.value).rpartition('model.teacher.classes=')[2].partition(' in the')[0]
    teacher_card.check_classes(Teacher(**teacher, classes=ast.literal_eval(setting)), own)


@pytest.mark.parametrize('meta', [None, 'x', dict(CLASSES=5), dict(dataset_meta=7), {}])
def test_a_checkpoint_without_classes_is_a_teacher_all_the_same(
    teacher: dict, meta: object
) -> None:
    weights = torch.load(teacher['checkpoint'], weights_only=True)
    torch.save(weights | dict(meta=meta), teacher['checkpoint'])
    teacher_card.check_classes(Teacher(**teacher), ('sky',))
