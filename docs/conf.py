"""The site that `make docs` builds: Sphinx reads the pages where they are, as GitHub does. Decision 31 says why."""

import os
import re
import shutil
from functools import partial
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from webhook import __version__

project = "Pillion"
project_copyright = "The Pillion authors"
release = __version__
extensions = ["myst_parser"]

# The source is the whole repository, so that a link between two pages is the same here and on GitHub.
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "charts/pillion/README.md", "tail/README.md", "tests/cluster/README.md"]
exclude_patterns = [".*", "build", "dist", "tail/target"]

myst_heading_anchors = 4  # GitHub's
smartquotes = False  # as on GitHub, and an option keeps its dashes
html_theme = "furo"
html_title = "Pillion"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_baseurl = os.environ.get("SITE_URL", "")

#: The navigation, by what people want. A page that is missing here is a warning, and so an error.
NAVIGATION = {
    "Start": {
        "Get started": "docs/get-started",
        "Other ways": "docs/comparison",
        "Migrating": "docs/migrating",
    },
    "Use": {
        "The command line": "docs/command-line",
        "Annotations": "docs/annotations",
        "Linting manifests": "docs/linting",
        "Status": "docs/status",
        "Playground": "docs/playground",
        "Sending lines to a store": "docs/shipping",
        "Troubleshooting": "docs/troubleshooting",
    },
    "Operate": {
        "Installing": "docs/installing",
        "Managed clusters, OpenShift": "docs/platforms",
        "Argo CD, Flux, kustomize": "docs/gitops",
        "The chart's values": "charts/pillion/README",
        "Profiles": "docs/profiles",
        "Certificates": "docs/certificates",
        "Monitoring": "docs/monitoring",
        "Runbooks": "docs/runbooks",
        "Upgrading": "docs/upgrading",
        "Scale": "docs/scale",
    },
    "Understand": {
        "The rules": "docs/rules",
        "The log pipeline": "docs/log-pipeline",
        "pillion-tail": "tail/README",
        "Security": "docs/security",
        "Benchmarks": "docs/benchmarks",
        "Test results": "docs/test-results",
        "Architecture": "docs/architecture",
        "The server and uvicorn": "docs/server-internals",
        "Decisions": "docs/decisions/README",
    },
    "Contribute": {
        "Contributing": "CONTRIBUTING",
        "Tests on a Kubernetes": "tests/cluster/README",
        "Releasing": "docs/releasing",
        "Changelog": "CHANGELOG",
        "Security policy": "SECURITY",
    },
}
_TITLE = re.compile(r"^( *)```(\w+) title=(\S+)$", re.MULTILINE)


def _toctree(*lines: str) -> str:
    return "\n".join(["", "```{toctree}", *lines, "```", ""])


def complete(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add what GitHub has no syntax for: the navigation, and the names of files above their text."""
    source[0] = _TITLE.sub(r"\1```{code-block} \2\n\1:caption: \3\n", source[0])
    if page == root_doc:
        for caption, pages in NAVIGATION.items():
            entries = [f"{title} </{name}>" for title, name in pages.items()]
            source[0] += _toctree(":hidden:", f":caption: {caption}", *entries)
    elif page == "docs/decisions/README":
        source[0] += _toctree(":glob:", ":maxdepth: 1", "0*")


def note_external_links(links: set[str], _app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Remember the addresses elsewhere that a page leads to; nobody is asked whether they are there."""
    links.update(node["refuri"] for node in doctree.findall(nodes.reference) if "://" in node.get("refuri", ""))


def finish(links: set[str], app: Sphinx, error: Exception | None) -> None:
    """Make the README the page that the bare address shows, and list the addresses elsewhere."""
    if error is None:
        site = Path(app.outdir)
        shutil.copy(site / f"{root_doc}.html", site / "index.html")
        (site.parent / "external-links.txt").write_text("".join(f"{url}\n" for url in sorted(links)))


def setup(app: Sphinx) -> None:
    """Register the above."""
    links: set[str] = set()
    app.connect("source-read", complete)
    app.connect("doctree-resolved", partial(note_external_links, links))
    app.connect("build-finished", partial(finish, links))
