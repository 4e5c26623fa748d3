"""Answers of other servers, read to their end and bounded."""
