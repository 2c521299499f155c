"""Makes ``synthetic`` importable from every folder of tests."""
