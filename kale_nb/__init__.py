"""Compile an annotated Jupyter notebook into a pipeline of steps and run it, with the same results."""

__version__ = "0.1.0"
