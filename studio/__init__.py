"""What people and programs touch: the command, later the web. No rules and no SQL."""

from pathlib import Path

# Workflows and sample data that ship.
SAMPLES = Path(__file__).parent / "templates"
