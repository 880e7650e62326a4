"""The live notebook, driven through the front ends that people use."""
