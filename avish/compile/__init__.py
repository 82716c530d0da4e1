"""Configuration in, the wanted state of each service engine out; pure."""
