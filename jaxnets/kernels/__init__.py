"""Forms of operations for the speed of one backend; each computes what the layer in `jaxnets.nn` states."""
