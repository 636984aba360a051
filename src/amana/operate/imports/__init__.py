"""`amana transfers import`: a file of transfers through the API, line by line accounted for."""
