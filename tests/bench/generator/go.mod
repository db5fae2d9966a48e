// The load generator: Go's standard library alone.
module pillion.dev/tests/bench/generator

go 1.26.0
