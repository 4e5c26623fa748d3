"""The proof that the gateway passes what Google's own client for Python asks of BigQuery."""
