"""The grammar as values: leaf types, object types, messages, commands."""
