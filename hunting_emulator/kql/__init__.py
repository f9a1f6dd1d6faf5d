"""A subset of the Kusto query language, compiled to DuckDB SQL."""
