"""Secrets: sealed, opened, checked against what calls bring, kept out of what is shown."""
