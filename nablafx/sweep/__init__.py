"""Many runs: grids and searches, what is done of them, and the machines that do the rest."""
