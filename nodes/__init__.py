"""The catalogue: one node type, one file. `core.sort` is declared in `sort.py`, and imported when first asked for."""
