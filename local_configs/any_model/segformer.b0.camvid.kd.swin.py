# Student: SegFormer-B0, taught by Swin-Tiny.
_base_ = './segformer.b0.camvid.kd.r50.py'
model = dict(
    teacher=dict(
        config='local_configs/any_model/fpn.swin.camvid.py',
        checkpoint='work_dirs/fpn_swin_camvid_teacher/iter_40000.pth',
    )
)
work_dir = 'work_dirs/segformer_b0_camvid_kd_swin'
