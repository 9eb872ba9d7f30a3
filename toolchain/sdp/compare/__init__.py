"""One run against another: what `sdp compare` keeps of a run, the differences, how sure they are, their table."""
