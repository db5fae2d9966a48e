"""Tests of webhook.configuration, a module a module."""
