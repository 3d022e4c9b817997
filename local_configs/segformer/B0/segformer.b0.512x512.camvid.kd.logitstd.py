# Student with KL of standardised logits, at the authors' temperature; their weight, 9, was found
# for classification.
_base_ = './segformer.b0.512x512.camvid.kd.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        kl_loss=dict(type='KLDivergenceLoss', standardize=True, temperature=2.0, loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_logitstd'
