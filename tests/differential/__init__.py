"""The judge of the product: each notebook run top to bottom in one plain shell, and compiled and run as a pipeline, must agree."""
