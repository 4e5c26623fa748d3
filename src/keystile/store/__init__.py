"""The control database: SQLite embedded, PostgreSQL for replicas."""
