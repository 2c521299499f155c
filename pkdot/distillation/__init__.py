"""Distillation: one file a method, a pure loss and a small class."""
