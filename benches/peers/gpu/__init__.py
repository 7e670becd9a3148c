"""Other people's kernels on the problems of this project, on an NVIDIA GPU."""
