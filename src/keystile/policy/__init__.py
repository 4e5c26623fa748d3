"""The policy language: documents, compilation, decisions. Pure: reads no file, asks no server."""
