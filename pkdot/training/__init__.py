"""Training: one plain loop, and the stages that use it: encoders, teacher, students."""
