"""What a person sees: no text of a manifest commands a terminal."""

import pytest

from tests.cli.conftest import Call

#: Every place of a pod that a command prints, with a text that hides what follows it on a terminal.
HOSTILE = """\
apiVersion: v1
kind: Pod
metadata:
  name: "sh\\x1b[8mop"
  namespace: "de\\x1b[8mf"
  annotations:
    pillion.dev/inject: "true"
    pillion.dev/logs: /data/x/*.log
    "pillion.dev/l\\x1b[8mgs": x
spec:
  containers:
    - name: "sh\\x1b[8mop"
      image: x
      volumeMounts: [{name: "v\\x1b[8m", mountPath: "/data\\x1b[8m", subPath: "s\\x1b[8m"}, {name: w, mountPath: /data}]
  volumes: [{name: "v\\x1b[8m", emptyDir: {}}, {name: w, emptyDir: {}}]
"""


@pytest.mark.parametrize("command", ["inject", "explain", "lint"])
@pytest.mark.parametrize("inject", ['"true"', '"maybe\\x1b[8m"', '"false"'])
def test_no_escape_reaches_the_terminal(command: str, inject: str, pillion: Call) -> None:
    """An escape in a name, a path or a key is shown as a replacement, on both streams."""
    text = HOSTILE.replace('"true"', inject).replace("mountPath: /data}", 'mountPath: "/data/x"}')
    _, out, err = pillion(command, "-f", "-", stdin=text)
    assert "\x1b" not in err
    assert command == "inject" or "\x1b" not in out
