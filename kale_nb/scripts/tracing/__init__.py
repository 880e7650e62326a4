"""Reading a script by running its pipeline's body once, with stand-ins for parameters and results; in a process of its own.

`main` is what that process runs. It prints nothing and writes one JSON file: steps, parameters, settings and findings.
"""
