# Student: SegFormer-B0, taught by ConvNeXt-Tiny.
_base_ = './segformer.b0.camvid.kd.r50.py'
model = dict(
    teacher=dict(
        config='local_configs/any_model/fpn.convnext.camvid.py',
        checkpoint='work_dirs/fpn_convnext_camvid_teacher/iter_40000.pth',
    )
)
work_dir = 'work_dirs/segformer_b0_camvid_kd_convnext'
