"""The data port: BigQuery's REST surface, the token endpoint, the issuer's documents and probes."""
