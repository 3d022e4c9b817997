"""What the documentation shows is run."""

import re
from pathlib import Path

from mmengine.config import Config
from mmseg.registry import MODELS

ROOT = Path(__file__).parents[1]


def python_blocks(page: str) -> list[str]:
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    return re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL)


def test_the_loss_of_the_page_on_adding_one() -> None:
    loss, line, test, config = python_blocks('adding_a_loss.md')
    assert line == 'from mmseg_kd.distillation.losses.cosine import CosineLoss\n'
    try:
        exec(compile(loss, 'cosine.py', 'exec'), {'__name__': 'cosine'})
        names: dict = {}
        exec(compile(test, 'test_cosine.py', 'exec'), names)
        names['test_orthogonal_logits_are_one_apart']()
        entry = Config.fromstring(config.replace('./', f'{ROOT}/local_configs/toy/'), '.py')
        assert MODELS.build(entry.model.kd_losses.cos_loss).weight == 1.0
    finally:
        MODELS.module_dict.pop('CosineLoss', None)
