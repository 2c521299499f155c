"""Hallucination: prevalent tokens -> the privileged tokens that are not there."""
