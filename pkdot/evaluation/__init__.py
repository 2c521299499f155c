"""Evaluation: metrics, statistics, and the tables that the report is made of."""
