"""A client that trusts a bundle shakes hands with servers: python -m tests.cluster.handshakes, in the node's network.

Reads a JSON object a line, {"bundle": PEM, "name": TEXT, "addresses": [[HOST, PORT], …]}; writes a list with a sentence
for each address, empty if it was accepted.
"""

import json
import socket
import ssl
import sys

SECONDS = 5.0
#: What a server says whose listener is not there: one that starts or ends, which is not what is looked for.
GONE = (ConnectionError, TimeoutError)


def shake(bundle: str, name: str, host: str, port: int) -> str:
    """Return why the client refuses what the server shows, or nothing."""
    context = ssl.create_default_context(cadata=bundle)
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as raw:
            context.wrap_socket(raw, server_hostname=name).close()
    except ssl.SSLEOFError:
        return ""  # it was closed, as by a server that ends
    except ssl.SSLError as error:
        return f"{host}: {error}"
    except (*GONE, OSError):
        return ""
    return ""


if __name__ == "__main__":
    for line in sys.stdin:
        wanted = json.loads(line)
        answers = [shake(wanted["bundle"], wanted["name"], *address) for address in wanted["addresses"]]
        print(json.dumps(answers), flush=True)  # noqa: T201 — that is what it is for
