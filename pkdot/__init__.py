"""Privileged knowledge distillation with optimal transport for multimodal expression recognition."""
