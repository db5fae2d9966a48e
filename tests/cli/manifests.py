"""Manifests that the tests of several commands read."""

from pathlib import Path

__all__ = ["APP", "BAD", "GOLDENS", "PATTERNS", "QUIET", "WITH_LOGS"]

HERE = Path(__file__).parent.parent
PATTERNS = sorted((HERE / "patterns").glob("*/annotated.yaml"))
GOLDENS = sorted((HERE / "golden").glob("*/pod.yaml"))
APP = """\
# The shop.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop   # its name
spec:
  template:
    metadata:
      annotations:
        pillion.dev/inject: "true"   # ask
    spec:
      containers:
      - name: app
        image: 'shop:1'
        # the end of app
---
apiVersion: v1
kind: Service   # passed   through
metadata: {name:  shop}
"""
BAD = """\
apiVersion: v1
kind: Pod
metadata:
  name: bad
  annotations:
    pillion.dev/inject: "true"
    pillion.dev/logs: shop.log
spec:
  containers:
  - name: app
"""
#: Says nothing, but has a place for logs: a namespace that opts in asks for it.
WITH_LOGS = """\
apiVersion: v1
kind: Pod
metadata: {name: quiet}
spec:
  containers: [{name: app, volumeMounts: [{name: logs, mountPath: /var/log/app}]}]
  volumes: [{name: logs, emptyDir: {}}]
"""
QUIET = "apiVersion: v1\nkind: Pod\nmetadata: {name: quiet}\nspec: {containers: [{name: app}]}\n"
