"""The host's MPI in any container: probed, decided, explained."""
