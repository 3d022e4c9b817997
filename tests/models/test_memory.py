"""Training the student with its teacher fits a modest machine."""

import subprocess
import sys

import pytest
from conftest import ROOT

STEP = """
import resource
import sys
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg_kd.config import load_config

folder = sys.argv[1]
configs = 'local_configs/segformer/'
teacher = load_config(configs + 'B2/segformer.b2.512x512.camvid.py').model
teacher.pretrained = None
torch.save({'state_dict': MODELS.build(teacher).state_dict()}, folder + '/teacher.pth')
model = load_config(configs + 'B0/segformer.b0.512x512.camvid.kd.py').model
model.pretrained = None
model.teacher.checkpoint = folder + '/teacher.pth'
model = MODELS.build(model).train()
optimizer = torch.optim.AdamW(model.parameters())
labels = torch.randint(0, 12, (4, 1, 512, 512))
samples = [SegDataSample(gt_sem_seg=PixelData(data=x)) for x in labels]
losses = model.loss(torch.randn(4, 3, 512, 512), samples)
sum(value for name, value in losses.items() if 'loss' in name).backward()
optimizer.step()
print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='peak memory is read as Linux gives it')
def test_a_distillation_step_stays_under_8_gib(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, '-c', STEP, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    peak_gib = int(done.stdout.split()[-1]) / 2**20
    assert peak_gib < 8
