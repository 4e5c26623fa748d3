"""The proof that BigQuery's clients work unchanged: each does its jobs directly and through us."""
