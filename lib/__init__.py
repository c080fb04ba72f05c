"""Attribution and metric kernels of *Sign & Noise*, and what its chapters share.

Read it in the order of the data: data, models, attribution, metrics, experiments.
"""
