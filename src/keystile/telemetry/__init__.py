"""Logs and metrics: what operators see of a running gateway, and never a secret or a value."""
