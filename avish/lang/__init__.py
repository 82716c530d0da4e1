"""A typed line against the grammar: words, the walk, completion and help."""
