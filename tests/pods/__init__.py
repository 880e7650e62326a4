"""Compiled pipelines whose steps run as real pods: `pytest -m pods`, which is not part of the other tests.

A kubelet and containerd run the containers, from an image made of this machine's Python; the volumes are clones that the tests' CSI driver
makes of a snapshot, mounted by the kubelet where the notebook server had them.
"""
