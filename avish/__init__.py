"""avish: the Avi Vantage CLI on the Linux kernel's dataplane."""

__version__ = "0.1.0"
