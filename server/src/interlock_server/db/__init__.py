"""The database: statements, publications and the one turn that serialises publishers.

It is never on the read path. SQLite is the embedded default; the same code runs on PostgreSQL.
"""
