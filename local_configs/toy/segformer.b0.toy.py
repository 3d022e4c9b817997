# Baseline on generated scenes.
_base_ = [
    '../_base_/models/segformer_b0.py',
    '../_base_/datasets/toy_128x128.py',
    '../_base_/schedules/adamw_toy.py',
    '../_base_/toy_runtime.py',
]
# No stochastic depth: a run this short cannot overfit.
model = dict(
    pretrained=None,
    backbone=dict(drop_path_rate=0.0),
)
work_dir = 'work_dirs/segformer_b0_toy_baseline'
