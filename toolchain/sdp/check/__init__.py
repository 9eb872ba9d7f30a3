"""`sdp check`: predict before training what a recipe's settings can achieve, and suggest changes.

`facts` holds the inputs, `forecast` predicts the exporter's choices; `data`, `speed`, `size`, `thresholds` and
`training` derive findings from both. `duration` and `stage_times` estimate the time. No torch.
"""
