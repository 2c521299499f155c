"""Models for whatever modalities are there: tokens of all of them and a mask of what is present -> predictions."""
