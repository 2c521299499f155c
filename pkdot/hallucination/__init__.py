"""Hallucination: prevalent tokens -> the privileged tokens that are not there; one file a kind of T-Net."""
