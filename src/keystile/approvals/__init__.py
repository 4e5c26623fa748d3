"""Requests that people decide on: who may, how many must, and until when."""
