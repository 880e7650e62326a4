"""The way to a Kubeflow Pipelines server: where it is, who asks, sending a pipeline and following its run.

The client speaks HTTP by the standard library: submitting needs neither kfp nor, without snapshots, a Kubernetes client.
"""
