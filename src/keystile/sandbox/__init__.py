"""A BigQuery-compatible server for a newcomer's first minute and for tests.

A process of its own that is reached over HTTP, as BigQuery is. Queries run on GoogleSQL's reference
evaluator. INVARIANT: never a wrong answer; what cannot be evaluated is refused in clear words.
"""
