"""One consistent copy of everything, and back."""
