"""Request and Response, and the client the shell talks through."""
