"""Pillion: a Kubernetes admission webhook that gives annotated pods a logging sidecar."""

__version__ = "0.1.0"
