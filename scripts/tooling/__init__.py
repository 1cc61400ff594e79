"""The Python code of the commands in scripts/."""
