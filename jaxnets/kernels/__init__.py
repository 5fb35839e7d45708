"""Forms of layers for the speed of one backend; each computes what the layer's page in `jaxnets.nn` says."""
