"""The one way from raw files to predictions: bundle, student, refit, predict, export."""
