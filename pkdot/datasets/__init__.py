"""Data sets: the owners' files on disk -> manifest and ledger."""
