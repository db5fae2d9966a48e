"""Tests of webhook.playground."""
