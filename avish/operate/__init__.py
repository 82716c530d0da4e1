"""What a service engine reports, turned into the rows a show command prints."""
