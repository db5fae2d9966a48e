"""Tests of webhook.workloads."""
