"""What `sdp check` reports before hours of training: what a recipe's settings can and cannot bring, and what would.

`facts` holds what is known, `forecast` what the exporter will do with it; `data`, `speed`, `size`, `thresholds` and
`training` turn both into sentences. `duration` and `earlier` estimate what it takes. No torch.
"""
