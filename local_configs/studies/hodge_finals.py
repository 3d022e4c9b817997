# The finalists of `hodge.py` and their controls. Five new seeds, because the seeds that chose the
# finalists would favour them.
_base_ = './hodge.py'

study = dict(
    seeds=[2, 3, 4, 5, 6],
    test=True,
    controls={
        'flow-gradient': ['none', 'flow', 'flow-random'],
        'flow-curl': ['none', 'flow', 'flow-random'],
        'sobolev+1': ['none', 'mse', 'permuted+1'],
        'cwd': ['none', 'cwd-other', 'cwd-labels'],
    },
    # A run that is None is left out.
    runs=dict.fromkeys(
        ['kl', 'sobolev-1', 'sobolev-half', 'sobolev+half', 'permuted-1', 'junction', 'direction']
    ),
)
