"""A real Kubernetes API server for tests, a CSI driver of folders, and a proxy that makes the server fail.

The fixtures are in `fixtures.py`: `cluster` (the server, one for all workers of a session), `space` (a namespace of the test's own),
`driver` (snapshots and clones as folders), `proxy` (faults).
"""
