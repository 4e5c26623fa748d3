"""Texts that EXECUTE IMMEDIATE has as constants."""

from __future__ import annotations

from typing import Any

from keystile.analysis.parsing import identifiers
from keystile.analysis.tree import children, kind
from keystile.googlesql.protos import unwrapped


def constant_text(node: Any) -> str | None:
    """Give the value of a STRING literal or of literals put together; None for anything else."""
    if kind(node) == "ASTStringLiteral":
        text: str = node.string_value
        return text
    if not _joins(node):
        return None
    operands = [child for field, child in children(node) if field in _OPERANDS]
    texts = [constant_text(unwrapped(operand)) for operand in operands]
    return None if None in texts or not texts else "".join(text for text in texts if text)


_OPERANDS = frozenset({"lhs", "rhs", "arguments"})


def _joins(node: Any) -> bool:
    """Tell `a || b` and CONCAT(a, b) without anything else."""
    if kind(node) == "ASTBinaryExpression":
        field = node.DESCRIPTOR.fields_by_name["op"].enum_type
        return bool(field.values_by_number[node.op].name == "CONCAT_OP")
    return (
        kind(node) == "ASTFunctionCall"
        and [name.lower() for name in identifiers(node.function)] == ["concat"]
        and {field for field, _ in children(node)} == {"function", "arguments"}
    )
