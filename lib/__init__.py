"""The kernels of *Sign & Noise*, tensors in and tensors out: saliency maps (`attribution`) and what is measured of them (`metrics`)."""
