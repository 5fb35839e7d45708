"""Forms of operations that exist for the speed of one backend, with one function for each operation as its door."""
