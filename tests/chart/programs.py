"""The Go programs that check the chart: built as those of tests/cluster are, pinned beside this file."""

from pathlib import Path

from tests.cluster import programs
from tests.cluster.programs import Source

HERE = Path(__file__).parent
KUBECONFORM = Source(
    module="github.com/yannh/kubeconform",
    folder=HERE / "kubeconform",
    packages={"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
    stamps=(),
)
HELM_UNITTEST = Source(
    module="github.com/helm-unittest/helm-unittest",
    folder=HERE / "helm-unittest",
    packages={"helm-unittest": "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"},
    stamps=(),
)


def missing() -> list[str]:
    """Return what this machine lacks to build helm and the programs here, in words for people."""
    cached = all((source.cache / name).exists() for source in (KUBECONFORM, HELM_UNITTEST) for name in source.packages)
    return programs.missing(whole=False, also=["helm"] if cached else ["helm", "kubectl"])
