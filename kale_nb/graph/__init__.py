"""Drawings of a pipeline's graph, for a terminal and as SVG. Pure: a `Pipeline` and perhaps states in, text out."""
