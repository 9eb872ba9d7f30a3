"""The commands of `sdp`, one a module; related commands share one. They contain no logic of their own."""
