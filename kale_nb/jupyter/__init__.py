"""The live notebook: `%load_ext kale_nb` gives `%%step` and the other marks, `%pipeline` and `%kale_load`.

A front door like the command: what is compiled, run and kept is the business of the compiler and the runner.
"""
