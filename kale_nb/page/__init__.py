"""A pipeline as one HTML page for people: the graph on top, then each step with its cells, what it takes and what it leaves.

Text in, text out: no file is read or written, and the same pipeline gives the same page, byte for byte.
"""
