# Measures the gradient of each loss in each form. The setting of the first experiments trains; the
# other losses have weight 1e-6, so divide their norms in work_dir/gradients.jsonl by it.
_base_ = './segformer.b0.scratch.kd.first.py'


def _loss(kind, **settings):
    return dict(type=kind, loss_weight=1e-6, **settings)


_fused = dict(stages='decode_head.linear_fuse', teacher_stages='decode_head.dropout')
_stages = dict(stages=('stage1', 'stage2', 'stage3', 'stage4'))
model = dict(
    kd_losses=dict(
        kl_t1=_loss('KLDivergenceLoss', temperature=1.0),
        kl_batchmean=_loss('KLDivergenceLoss', reduction='batchmean'),
        kl_std=_loss('KLDivergenceLoss', temperature=2.0, standardize=True),
        at_sum=_loss('AttentionTransferLoss', reduction='sum'),
        at_code=_loss('AttentionTransferLoss', reduction='authors_code'),
        at_paper_norm=_loss('AttentionTransferLoss', **_stages),
        at_sum_norm=_loss('AttentionTransferLoss', reduction='sum', **_stages),
        at_code_norm=_loss('AttentionTransferLoss', reduction='authors_code', **_stages),
        at_paper_fused=_loss('AttentionTransferLoss', **_fused),
        at_sum_fused=_loss('AttentionTransferLoss', reduction='sum', **_fused),
        at_code_fused=_loss('AttentionTransferLoss', reduction='authors_code', **_fused),
        sp_sum=_loss('SimilarityPreservingLoss', reduction='sum'),
        sp_pixel=_loss('SimilarityPreservingLoss', mode='pixel'),
        sp_pixel_sum=_loss('SimilarityPreservingLoss', mode='pixel', reduction='sum'),
        cwd=_loss('ChannelWiseDivergence', temperature=4.0),
        pairwise=_loss('PairwiseLoss'),
        dist=_loss('DISTLoss'),
        fit_mean=_loss('FitNetLoss', student_channels=256, teacher_channels=512),
        fit_cosine=_loss(
            'FitNetLoss', reduction='cosine', student_channels=256, teacher_channels=512
        ),
    )
)
work_dir = 'work_dirs/segformer_b0_scratch_scales'
