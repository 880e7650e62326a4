"""The Kubernetes side of a submission: the notebook server's volumes, snapshots of them, and what kale has made on the cluster.

Objects are plain dictionaries as the API spells them; `Cluster` is the only place that speaks to the API server, by the official client.
"""
