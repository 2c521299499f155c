"""Encoders: one modality's arrays -> embeddings of tokens."""
