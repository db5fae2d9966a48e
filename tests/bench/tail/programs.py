"""The Go programs that are compared with, pinned beside this file and built as those of tests/cluster are."""

from pathlib import Path

from tests.cluster.programs import Source

HERE = Path(__file__).parent
FILEBEAT = Source(
    module="github.com/elastic/beats/v7",
    folder=HERE / "filebeat",
    packages={"filebeat": "github.com/elastic/beats/v7/filebeat"},
    stamps=(),
)
OTELCOL = Source(
    module="go.opentelemetry.io/collector/otelcol",
    folder=HERE / "otelcol",
    packages={"otelcol": "example.org/bench/otelcol"},
    stamps=(),
)
