"""Checks and measures the glance kernels on a GPU, through their C ABI, beside PyTorch."""
