"""The commands of `sdp`, one a module (those of a folder that is shipped share one). All are thin."""
