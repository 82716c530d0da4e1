"""Addresses, listeners, translations, routes and taps of a network namespace. Knows nothing of Avi."""
