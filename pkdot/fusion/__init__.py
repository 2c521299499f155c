"""Fusion: prevalent and privileged tokens of a sample -> fused tokens, the features that are distilled."""
