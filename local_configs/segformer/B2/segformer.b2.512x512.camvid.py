# Teacher: SegFormer-B2 on CamVid.
_base_ = [
    '../../_base_/models/segformer_b2.py',
    '../../_base_/datasets/camvid_512x512.py',
    '../../_base_/schedules/adamw_40k.py',
    '../../_base_/default_runtime.py',
]
work_dir = 'work_dirs/segformer_b2_camvid_teacher'
