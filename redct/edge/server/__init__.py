"""A bundle over HTTP: bounded in what it takes on, and true to what it accepted."""
