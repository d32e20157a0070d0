"""Studies: experiments that train what they judge. Each is a command that writes a table."""
