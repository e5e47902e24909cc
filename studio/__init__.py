"""What people and programs touch: the command, later the web. No rules and no SQL."""
