"""Reporting: figures, and the one HTML file."""
