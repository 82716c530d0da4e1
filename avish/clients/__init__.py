"""For programs that drive avish through SSH: a netmiko device type and a scrapli definition."""
