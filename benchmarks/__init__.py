"""Speed and memory of the kernels, against their peers and against their floor: `make bench`."""
