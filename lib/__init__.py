"""The kernels of *Sign & Noise*, tensors in and tensors out.

Saliency maps are in `attribution`, and what is measured of them in `metrics`.
"""
