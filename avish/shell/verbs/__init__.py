"""The functions behind ``does:`` in the grammar's commands: each a generator of effects, for a session and an order."""
