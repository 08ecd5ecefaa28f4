"""Files → networks: finding, fetching, porting, checking."""
