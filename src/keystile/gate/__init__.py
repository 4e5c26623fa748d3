"""The gate: the way of one query, job ownership, and the duties that carry accepted jobs on.

Start reading at `pipeline.py`.
"""
