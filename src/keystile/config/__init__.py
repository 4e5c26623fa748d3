"""Typed settings: one declaration gives the YAML file, its JSON Schema and its reference page."""
