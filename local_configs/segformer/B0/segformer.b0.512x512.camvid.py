# Baseline: SegFormer-B0 on CamVid.
_base_ = [
    '../../_base_/models/segformer_b0.py',
    '../../_base_/datasets/camvid_512x512.py',
    '../../_base_/schedules/adamw_40k.py',
    '../../_base_/default_runtime.py',
]
work_dir = 'work_dirs/segformer_b0_camvid_baseline'
