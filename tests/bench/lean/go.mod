// The lean rival: Go's standard library alone.
module pillion.dev/tests/bench/lean

go 1.26.0
