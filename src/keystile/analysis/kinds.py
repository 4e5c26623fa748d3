"""Statement kinds: what BigQuery calls each, what it does, and how far it is understood."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from keystile.model.facts import Action


class Depth(Enum):
    """How far a statement kind is understood."""

    RESOLVED = "resolved"
    """The engine resolves it and every node is looked at."""
    NAMED = "named"
    """Its parse tree says all there is: it names things and computes nothing."""
    OPAQUE = "opaque"
    """It is recognised, and refused."""


class Kind(NamedTuple):
    """`statement` is BigQuery's `statementType`; `targets` are parse tree fields it changes."""

    statement: str
    actions: tuple[Action, ...]
    depth: Depth = Depth.OPAQUE
    targets: tuple[str, ...] = ()


_SCHEMA = (Action.SCHEMA_CHANGE,)
_ACCESS = (Action.ACCESS_CHANGE,)
_SESSION = (Action.SESSION,)
_READ_WRITE = (Action.READ, Action.WRITE)
_COPY = (Action.READ, Action.SCHEMA_CHANGE, Action.WRITE)
_ROUTINE = (Action.ROUTINE, Action.SCHEMA_CHANGE)
_MODEL = (Action.MODEL, Action.SCHEMA_CHANGE)
_RUNS_ROUTINE = (Action.ROUTINE, Action.READ, Action.WRITE)
_SCRIPT = (Action.SCRIPT,)
_PATH, _NAME, _TARGET, _OF_TABLE = ("path",), ("name",), ("target_path",), ("table_name",)

KINDS: dict[str, Kind] = {
    "ASTQueryStatement": Kind("SELECT", (Action.READ,), Depth.RESOLVED),
    "ASTInsertStatement": Kind("INSERT", (Action.WRITE,), Depth.RESOLVED, _TARGET),
    "ASTUpdateStatement": Kind("UPDATE", _READ_WRITE, Depth.RESOLVED, _TARGET),
    "ASTDeleteStatement": Kind("DELETE", _READ_WRITE, Depth.RESOLVED, _TARGET),
    "ASTMergeStatement": Kind("MERGE", _READ_WRITE, Depth.RESOLVED, _TARGET),
    "ASTTruncateStatement": Kind("TRUNCATE_TABLE", (Action.WRITE,), Depth.RESOLVED, _TARGET),
    # Tables and views
    "ASTCreateTableStatement": Kind("CREATE_TABLE", _SCHEMA, Depth.RESOLVED, _NAME),
    "ASTCreateViewStatement": Kind("CREATE_VIEW", _SCHEMA, Depth.RESOLVED, _NAME),
    "ASTCreateMaterializedViewStatement": Kind(
        "CREATE_MATERIALIZED_VIEW", _SCHEMA, Depth.RESOLVED, _NAME
    ),
    "ASTCreateApproxViewStatement": Kind("CREATE_VIEW", _SCHEMA, Depth.OPAQUE, _NAME),
    "ASTCreateExternalTableStatement": Kind(
        "CREATE_EXTERNAL_TABLE", (Action.EXTERNAL, Action.SCHEMA_CHANGE), Depth.OPAQUE, _NAME
    ),
    "ASTCreateSnapshotTableStatement": Kind("CREATE_SNAPSHOT_TABLE", _COPY, Depth.NAMED, _NAME),
    "ASTCreateSnapshotStatement": Kind("CREATE_SNAPSHOT_TABLE", _COPY, Depth.OPAQUE, _NAME),
    "ASTDropStatement": Kind("DROP", _SCHEMA, Depth.NAMED, _NAME),
    "ASTDropMaterializedViewStatement": Kind("DROP_MATERIALIZED_VIEW", _SCHEMA, Depth.NAMED, _NAME),
    "ASTDropSnapshotTableStatement": Kind("DROP_SNAPSHOT_TABLE", _SCHEMA, Depth.NAMED, _NAME),
    "ASTAlterTableStatement": Kind("ALTER_TABLE", _SCHEMA, Depth.NAMED, _PATH),
    "ASTAlterViewStatement": Kind("ALTER_VIEW", _SCHEMA, Depth.NAMED, _PATH),
    "ASTAlterMaterializedViewStatement": Kind(
        "ALTER_MATERIALIZED_VIEW", _SCHEMA, Depth.NAMED, _PATH
    ),
    "ASTAlterApproxViewStatement": Kind("ALTER_VIEW", _SCHEMA, Depth.OPAQUE, _PATH),
    "ASTRenameStatement": Kind("ALTER_TABLE", _SCHEMA, Depth.OPAQUE, ("old_name", "new_name")),
    "ASTCloneDataStatement": Kind("CLONE_DATA", _COPY, Depth.OPAQUE, _TARGET),
    "ASTUndropStatement": Kind("UNDROP_SCHEMA", _SCHEMA),
    "ASTDefineTableStatement": Kind("DEFINE_TABLE", _SCHEMA),
    "ASTCreateIndexStatement": Kind("CREATE_SEARCH_INDEX", _SCHEMA, Depth.NAMED, _OF_TABLE),
    "ASTDropSearchIndexStatement": Kind("DROP_SEARCH_INDEX", _SCHEMA, Depth.NAMED, _OF_TABLE),
    "ASTDropVectorIndexStatement": Kind("DROP_VECTOR_INDEX", _SCHEMA, Depth.NAMED, _OF_TABLE),
    "ASTAlterIndexStatement": Kind("ALTER_INDEX", _SCHEMA),
    # Datasets
    "ASTCreateSchemaStatement": Kind("CREATE_SCHEMA", _SCHEMA, Depth.NAMED, _NAME),
    "ASTAlterSchemaStatement": Kind("ALTER_SCHEMA", _SCHEMA, Depth.NAMED, _PATH),
    "ASTCreateExternalSchemaStatement": Kind(
        "CREATE_SCHEMA", (Action.EXTERNAL, Action.SCHEMA_CHANGE)
    ),
    "ASTAlterExternalSchemaStatement": Kind(
        "ALTER_SCHEMA", (Action.EXTERNAL, Action.SCHEMA_CHANGE)
    ),
    "ASTCreateDatabaseStatement": Kind("CREATE_DATABASE", _SCHEMA),
    "ASTAlterDatabaseStatement": Kind("ALTER_DATABASE", _SCHEMA),
    # Access
    "ASTGrantStatement": Kind("GRANT", _ACCESS, Depth.OPAQUE, _TARGET),
    "ASTRevokeStatement": Kind("REVOKE", _ACCESS, Depth.OPAQUE, _TARGET),
    "ASTCreateRowAccessPolicyStatement": Kind(
        "CREATE_ROW_ACCESS_POLICY", _ACCESS, Depth.OPAQUE, _TARGET
    ),
    "ASTDropRowAccessPolicyStatement": Kind(
        "DROP_ROW_ACCESS_POLICY", _ACCESS, Depth.OPAQUE, _OF_TABLE
    ),
    "ASTDropAllRowAccessPoliciesStatement": Kind(
        "DROP_ROW_ACCESS_POLICY", _ACCESS, Depth.OPAQUE, _OF_TABLE
    ),
    "ASTAlterRowAccessPolicyStatement": Kind("ALTER_ROW_ACCESS_POLICY", _ACCESS),
    "ASTAlterAllRowAccessPoliciesStatement": Kind("ALTER_ROW_ACCESS_POLICY", _ACCESS),
    "ASTCreatePrivilegeRestrictionStatement": Kind("CREATE_PRIVILEGE_RESTRICTION", _ACCESS),
    "ASTDropPrivilegeRestrictionStatement": Kind("DROP_PRIVILEGE_RESTRICTION", _ACCESS),
    "ASTAlterPrivilegeRestrictionStatement": Kind("ALTER_PRIVILEGE_RESTRICTION", _ACCESS),
    # What leaves BigQuery or comes from elsewhere
    "ASTExportDataStatement": Kind("EXPORT_DATA", (Action.READ, Action.EXPORT), Depth.RESOLVED),
    "ASTExportModelStatement": Kind("EXPORT_MODEL", (Action.MODEL, Action.EXPORT)),
    "ASTExportMetadataStatement": Kind("EXPORT_METADATA", (Action.READ, Action.EXPORT)),
    "ASTAuxLoadDataStatement": Kind(
        "LOAD_DATA", (Action.EXTERNAL, Action.SCHEMA_CHANGE, Action.WRITE), Depth.OPAQUE, _NAME
    ),
    "ASTCreateConnectionStatement": Kind(
        "CREATE_CONNECTION", (Action.EXTERNAL, Action.SCHEMA_CHANGE)
    ),
    "ASTAlterConnectionStatement": Kind(
        "ALTER_CONNECTION", (Action.EXTERNAL, Action.SCHEMA_CHANGE)
    ),
    # Models and routines
    "ASTCreateModelStatement": Kind("CREATE_MODEL", (*_MODEL, Action.READ), Depth.RESOLVED, _NAME),
    "ASTAlterModelStatement": Kind("ALTER_MODEL", _MODEL),
    "ASTCreateFunctionStatement": Kind("CREATE_FUNCTION", _ROUTINE, Depth.RESOLVED),
    "ASTCreateTableFunctionStatement": Kind("CREATE_TABLE_FUNCTION", _ROUTINE, Depth.RESOLVED),
    "ASTCreateProcedureStatement": Kind("CREATE_PROCEDURE", _ROUTINE),
    "ASTCreateConstantStatement": Kind("CREATE_CONSTANT", _ROUTINE),
    "ASTDropFunctionStatement": Kind("DROP_FUNCTION", _ROUTINE, Depth.NAMED),
    "ASTDropTableFunctionStatement": Kind("DROP_TABLE_FUNCTION", _ROUTINE, Depth.NAMED),
    "ASTCallStatement": Kind("CALL", _RUNS_ROUTINE),
    "ASTRunStatement": Kind("RUN", _RUNS_ROUTINE),
    "ASTExecuteImmediateStatement": Kind("EXECUTE_IMMEDIATE", (Action.SCRIPT, *_READ_WRITE)),
    # Reservations, sequences and what BigQuery does not have
    "ASTCreateEntityStatement": Kind("CREATE_ENTITY", _SCHEMA),
    "ASTAlterEntityStatement": Kind("ALTER_ENTITY", _SCHEMA),
    "ASTDropEntityStatement": Kind("DROP_ENTITY", _SCHEMA),
    "ASTCreateSequenceStatement": Kind("CREATE_SEQUENCE", _SCHEMA),
    "ASTAlterSequenceStatement": Kind("ALTER_SEQUENCE", _SCHEMA),
    "ASTCreateLocalityGroupStatement": Kind("CREATE_LOCALITY_GROUP", _SCHEMA),
    "ASTCreatePropertyGraphStatement": Kind(
        "CREATE_PROPERTY_GRAPH", (Action.READ, Action.SCHEMA_CHANGE)
    ),
    "ASTAnalyzeStatement": Kind("ANALYZE", (Action.READ,)),
    "ASTAssertStatement": Kind("ASSERT", (Action.READ,), Depth.RESOLVED),
    "ASTDescribeStatement": Kind("DESCRIBE", (Action.READ,)),
    "ASTExplainStatement": Kind("EXPLAIN", (Action.READ,)),
    "ASTShowStatement": Kind("SHOW", (Action.READ,)),
    "ASTImportStatement": Kind("IMPORT", (Action.ROUTINE,)),
    "ASTModuleStatement": Kind("MODULE", (Action.ROUTINE,)),
    "ASTHintedStatement": Kind("HINTED", (Action.READ,)),
    "ASTStatementWithPipeOperators": Kind("PIPED", (Action.READ,)),
    "ASTSubpipelineStatement": Kind("PIPELINE", (Action.READ,)),
    # Sessions, transactions and scripts
    "ASTBeginStatement": Kind("BEGIN_TRANSACTION", _SCRIPT, Depth.NAMED),
    "ASTCommitStatement": Kind("COMMIT_TRANSACTION", _SCRIPT, Depth.NAMED),
    "ASTRollbackStatement": Kind("ROLLBACK_TRANSACTION", _SCRIPT, Depth.NAMED),
    "ASTSetTransactionStatement": Kind("SET_TRANSACTION", _SESSION),
    "ASTStartBatchStatement": Kind("START_BATCH", _SESSION),
    "ASTRunBatchStatement": Kind("RUN_BATCH", _SESSION),
    "ASTAbortBatchStatement": Kind("ABORT_BATCH", _SESSION),
    "ASTSystemVariableAssignment": Kind("SET", (Action.SESSION, Action.SCRIPT)),
    "ASTParameterAssignment": Kind("SET", _SCRIPT),
    "ASTSingleAssignment": Kind("SET", _SCRIPT),
    "ASTAssignmentFromStruct": Kind("SET", _SCRIPT),
    "ASTVariableDeclaration": Kind("DECLARE", _SCRIPT),
    "ASTDefineMacroStatement": Kind("DEFINE_MACRO", _SCRIPT),
    "ASTBeginEndBlock": Kind("BEGIN", _SCRIPT),
    "ASTIfStatement": Kind("IF", _SCRIPT),
    "ASTCaseStatement": Kind("CASE", _SCRIPT),
    "ASTForInStatement": Kind("FOR", _SCRIPT),
    "ASTRepeatStatement": Kind("REPEAT", _SCRIPT),
    "ASTWhileStatement": Kind("WHILE", _SCRIPT),
    "ASTBreakStatement": Kind("BREAK", _SCRIPT),
    "ASTContinueStatement": Kind("CONTINUE", _SCRIPT),
    "ASTRaiseStatement": Kind("RAISE", _SCRIPT),
    "ASTReturnStatement": Kind("RETURN", _SCRIPT),
}
"""Every statement kind of the engine's parser, by its parse tree node; a test finds what misses."""

SCRIPT = Kind("SCRIPT", _SCRIPT)
"""Several statements in one text, or the scripting language."""

UNKNOWN = Kind("UNKNOWN", tuple(Action))
"""A kind that this version does not know: it may do anything."""
