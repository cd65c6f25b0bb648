"""Published protocols, step by step, by name."""
