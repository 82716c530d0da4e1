"""The controller's outside: HTTP on a socket, the daemon, the command line."""
