"""Kubeflow Pipelines: a pipeline as KFP v2 IR with Kubernetes settings, the runner of its steps, and its way to a cluster.

`compiling.compile_kfp` is the way in for the compile: pipeline and stepbooks become the text of a `pipeline.yaml`. It needs neither kfp nor
a cluster. `stepper` runs inside the image, one process a step.
"""
