"""What a SQL text really does: from the engine's resolved tree to `QueryFacts`.

INVARIANT: allow-lists only. A node, function, statement kind or name form that is not listed makes
the query opaque, and an opaque query is refused.
"""
