"""What happens to a pod: pure functions from a request and a configuration to a verdict."""
