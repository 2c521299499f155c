"""Features: raw files -> arrays, sharded by subject and memory-mapped."""
