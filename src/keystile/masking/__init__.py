"""Mask at read: what each mask does to a value, and the rewriting that puts masks into a query.

INVARIANT: a mask keeps its column's type, and what it cannot be applied to becomes the type's
default, never the raw value.
"""
