"""The configuration as an immutable value, its checks and its store."""
