"""The GoogleSQL engine: Google's own analyzer and evaluator. Knows SQL, nothing of policy."""
