"""The controller without its sockets: requests, commits, captures."""
