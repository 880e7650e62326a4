"""The local engine, built on papermill.

`engine.LocalEngine` runs a job: a `scheduler` says what runs when, a `kernels.KernelHost` starts kernels (in its own process,
`host_process` and `kernel_app`), `execution` runs one notebook in one kernel through papermill (`books`, over a `channel`), and
`failures` tells what went wrong in the user's terms. Nothing is imported here: the kernel host imports this package too and must stay
small.
"""
