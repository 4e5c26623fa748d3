"""Keystile: a gateway that lets AI agents use Google BigQuery without ever holding a key."""

__version__ = "0.1.0"
