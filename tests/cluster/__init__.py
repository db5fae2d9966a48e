"""A real Kubernetes for the tests: an API server alone, or a whole node."""
