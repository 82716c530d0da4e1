"""The shell: a pure session and the fronts that show it."""
