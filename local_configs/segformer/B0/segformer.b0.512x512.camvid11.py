# Baseline under the standard protocol: 11 classes, Unlabelled ignored.
_base_ = [
    '../../_base_/models/segformer_b0.py',
    '../../_base_/datasets/camvid11_512x512.py',
    '../../_base_/schedules/adamw_40k.py',
    '../../_base_/default_runtime.py',
]
model = dict(decode_head=dict(num_classes=11))
work_dir = 'work_dirs/segformer_b0_camvid11_baseline'
