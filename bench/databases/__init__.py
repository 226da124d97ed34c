"""What the log costs on each database, beside what the same database does with no hub before it."""
