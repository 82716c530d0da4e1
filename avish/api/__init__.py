"""Request and Response, and the client the shell talks through."""

DEFAULT_HOME = "/var/lib/avish"
"""Home directory of a controller that nobody gave another."""
SOCKET = "avishd.sock"
"""The controller's Unix socket, in its home directory."""
